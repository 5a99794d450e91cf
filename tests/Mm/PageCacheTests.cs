using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using FsCheck;
using FsCheck.Fluent;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

public sealed unsafe class PageCacheTests
{
    [Test]
    public void A_shmem_file_reads_back_what_an_array_would()
    {
        Gen<int[]> script = Gen.Choose(0, 40_000).ArrayOf(60);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(300).WithReplay(11, 1), Prop.ForAll(Arb.From(script), RunScript));
    }

    private static void RunScript(int[] script)
    {
        using var stand = new MemoryStand(bytes: 16 << 20);
        long frames = stand.Pages.UsedFrames;
        var cache = new ShmemPageCache(stand.Pages);
        byte[] model = [];
        for (int i = 0; i + 3 <= script.Length; i += 3)
        {
            (int what, int offset, int length) = (script[i] % 5, script[i + 1], script[i + 2] % 9000);
            byte[] data = new byte[length];
            Array.Fill(data, (byte)(i + 1));
            switch (what)
            {
                case 0 or 1:
                    Assert.That(cache.Write((ulong)offset, data, task: null), Is.EqualTo(length));
                    if (length > 0 && model.Length < offset + length)
                        Array.Resize(ref model, offset + length);
                    data.CopyTo(model, length > 0 ? offset : 0);
                    break;
                case 2:
                    Assert.That(cache.Truncate(null, (ulong)offset), Is.Zero);
                    Array.Resize(ref model, offset);
                    break;
                case 3:
                    Assert.That(cache.PunchHole(null, (ulong)offset, (ulong)length), Is.Zero);
                    if (offset < model.Length)
                        model.AsSpan(offset, Math.Min(length, model.Length - offset)).Clear();
                    break;
                default:
                    Assert.That(cache.Allocate(null, (ulong)offset, (ulong)length, keepSize: true), Is.Zero);
                    break;
            }
            byte[] all = new byte[model.Length + 10];
            Assert.That(cache.Read(0, all, task: null), Is.EqualTo(model.Length));
            Assert.That(all.AsSpan(0, model.Length).SequenceEqual(model), $"contents after step {i / 3}");
        }
        cache.Free();
        Assert.That(stand.Pages.UsedFrames, Is.EqualTo(frames), "frames after the file is gone");
    }

    [Test]
    public void The_index_finds_what_a_sorted_table_holds()
    {
        Gen<ulong[]> indices = Gen.Choose(0, int.MaxValue - 1).Select(n => (ulong)n << (n % 40) & (ulong.MaxValue >> 12)).ArrayOf(80);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(300).WithReplay(5, 1), Prop.ForAll(Arb.From(indices), static list =>
        {
            var index = new PageIndex();
            var model = new SortedDictionary<ulong, ulong>();
            for (int i = 0; i < list.Length; i++)
            {
                if (model.Remove(list[i]))
                    Assert.That(index.Remove(list[i], out _));
                else
                    index.Add(list[i], new Pfn(model[list[i]] = (ulong)i + 1));
                Assert.That(index.Count, Is.EqualTo(model.Count));
                ulong from = list[^(i + 1)];
                KeyValuePair<ulong, ulong>? next = model.Where(e => e.Key >= from).Cast<KeyValuePair<ulong, ulong>?>().FirstOrDefault();
                bool found = index.TryGetNext(from, out ulong at, out Pfn frame);
                Assert.That(found ? (at, frame.Value) : default, Is.EqualTo(next is { } e ? (e.Key, e.Value) : default));
            }
        }));
    }

    [Test]
    public void Seals_forbid_what_they_name()
    {
        using var stand = new MemoryStand();
        var cache = new ShmemPageCache(stand.Pages, Seals.None);
        cache.Truncate(null, 8192);
        Assert.That(cache.AddSeals((int)(Seals.Grow | Seals.Shrink)), Is.Zero);
        Assert.That(cache.Truncate(null, 4096), Is.EqualTo(-Errno.EPERM));
        Assert.That(cache.Truncate(null, 16384), Is.EqualTo(-Errno.EPERM));
        Assert.That(cache.Write(8190, [1, 2, 3], task: null), Is.EqualTo(2), "up to the end");
        Assert.That(cache.Write(0, [1], task: null), Is.EqualTo(1));
        Assert.That(cache.AddSeals(1 << 10), Is.EqualTo(-Errno.EINVAL));

        var mm = stand.Create();
        var file = new CacheFile(cache);
        long at = mm.Mmap(null, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        Assert.That(cache.AddSeals((int)Seals.Write), Is.EqualTo(-Errno.EBUSY), "a writable mapping exists");
        mm.Munmap(null, (ulong)at, 4096);
        Assert.That(cache.AddSeals((int)(Seals.Write | Seals.Seal)), Is.Zero);
        Assert.That(cache.Write(0, [1], task: null), Is.EqualTo(-Errno.EPERM));
        Assert.That(mm.Mmap(null, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), Is.EqualTo(-Errno.EPERM));
        Assert.That(mm.Mmap(null, 0, 4096, PROT_READ, MAP_SHARED, file, 0), Is.Positive);
        Assert.That(cache.AddSeals((int)Seals.Exec), Is.EqualTo(-Errno.EPERM));
        mm.Put(null);
    }

    [Test]
    public void Stores_through_a_shared_mapping_reach_the_host_file_at_msync_and_at_munmap()
    {
        string path = System.IO.Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, new byte[5000]);
            using var stand = new MemoryStand();
            var cache = new HostPageCache(stand.Pages, File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite));
            var file = new CacheFile(cache);
            var mm = stand.Create();
            ulong at = (ulong)mm.Mmap(null, 0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            file.Put();
            mm.WriteMemory(null, at + 4096, [7]);
            Assert.That(mm.Msync(null, at, 8192, MS_SYNC), Is.Zero);
            Assert.That(ReadByte(path, 4096), Is.EqualTo(7));
            Assert.That(cache.TryGetPage(1, create: false, out Pfn frame));
            stand.Pages.Put(frame);
            Assert.That(stand.Pages[frame].Flags & PageFlags.Dirty, Is.EqualTo(PageFlags.None), "written pages are clean");
            Assert.That(stand.Access(mm, at + 4096, write: true, out byte* host), Is.EqualTo(FaultOutcome.Done));
            Assert.That(stand.Pages[frame].Flags & PageFlags.Dirty, Is.EqualTo(PageFlags.Dirty), "the next store is noticed");
            *host = 9;
            Assert.That(mm.Msync(null, at, 8192, MS_SYNC), Is.Zero);
            Assert.That(ReadByte(path, 4096), Is.EqualTo(9));
            mm.WriteMemory(null, at + 4097, [8]);
            Assert.That(mm.Munmap(null, at, 8192), Is.Zero);
            Assert.That(ReadByte(path, 4097), Is.EqualTo(8));
            Assert.That(new FileInfo(path).Length, Is.EqualTo(5000), "the rest of the last page is not written");
            mm.Put(null);
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>A report of one killed for memory reads the program's symbols: where there is no memory, and while locks are held that reclaim needs.</summary>
    [Test]
    public void The_kernels_own_reading_takes_no_frame_and_leaves_the_pages_as_they_are()
    {
        string path = System.IO.Path.GetTempFileName();
        try
        {
            byte[] contents = [.. Enumerable.Range(0, 9000).Select(static i => (byte)(i * 7))], read = new byte[10_000];
            File.WriteAllBytes(path, contents);
            using var stand = new MemoryStand();
            var cache = new HostPageCache(stand.Pages, File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite));
            cache.Write(4096, [1, 2, 3], task: null);
            stand.Pages[Present(stand, cache, 1)].Flags &= ~PageFlags.Referenced;
            (contents[4096], contents[4097], contents[4098]) = (1, 2, 3);
            long frames = stand.Pages.UsedFrames;
            Assert.That(cache.Read(0, read, task: null), Is.EqualTo(9000));
            Assert.That(read.AsSpan(0, 9000).SequenceEqual(contents), "what was written and what lies beneath");
            Assert.That((stand.Pages.UsedFrames, cache.ResidentPages), Is.EqualTo((frames, 1)));
            Assert.That(stand.Pages[Present(stand, cache, 1)].Flags & PageFlags.Referenced, Is.EqualTo(PageFlags.None), "it does not count as used");
            cache.Free();
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static Pfn Present(MemoryStand stand, HostPageCache cache, ulong index)
    {
        Assert.That(cache.TryGetPresent(index, out Pfn frame));
        stand.Pages.Put(frame);
        return frame;
    }

    private static byte ReadByte(string path, long offset)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        stream.Position = offset;
        return (byte)stream.ReadByte();
    }

    [Test]
    public void A_mount_has_as_many_pages_as_its_quota_allows_and_gets_them_back()
    {
        using var stand = new MemoryStand();
        var quota = new ShmemQuota(8);
        var cache = new ShmemPageCache(stand.Pages, quota: quota);
        Assert.That(cache.Write(0, new byte[6 << 12], task: null), Is.EqualTo(6 << 12));
        Assert.That(cache.Allocate(null, 0, 9 << 12, keepSize: false), Is.EqualTo(-Errno.ENOSPC), "more than the mount has at all");
        Assert.That(cache.Allocate(null, 5 << 12, 4 << 12, keepSize: false), Is.EqualTo(-Errno.ENOSPC));
        Assert.That(quota.UsedPages, Is.EqualTo(6), "what the failed call had added is gone");
        Assert.That(cache.Size, Is.EqualTo(6UL << 12));
        Assert.That(cache.Write(6 << 12, new byte[3 << 12], task: null), Is.EqualTo(2 << 12), "up to where it is full");
        Assert.That(cache.Write(8 << 12, new byte[1], task: null), Is.EqualTo(-Errno.ENOSPC));
        Assert.That(cache.PunchHole(null, 0x1000, 0x2000), Is.Zero);
        Assert.That(quota.UsedPages, Is.EqualTo(6));
        cache.Free();
        Assert.That(quota.UsedPages, Is.Zero);
    }
}

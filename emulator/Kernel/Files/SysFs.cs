using System.Globalization;
using Emulator.Kernel.Files.Proc;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>The few files of /sys that programs ask for: which processors there are, and how large pages are handled.</summary>
internal static class SysFs
{
    public static Filesystem Build(Vfs vfs)
    {
        var fs = new TmpFs(vfs.Machine, vfs.NextMinor(), 0x1ED, 0, 0, "sysfs");
        int count = vfs.Machine.Options.Vcpus;
        string range = count == 1 ? "0\n" : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"0-{count - 1}\n");
        Dentry cpu = Directories(fs, "devices", "system", "cpu");
        foreach (string name in (string[])["online", "possible", "present"])
            Text(fs, cpu, name, range);
        for (int i = 0; i < count; i++)
            fs.AddDirectory(cpu, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"cpu{i}"), 0x1ED, 0, 0);
        Dentry node = Directories(fs, "devices", "system", "node");
        Text(fs, node, "online", "0\n");
        Text(fs, node, "possible", "0\n");
        Dentry huge = Directories(fs, "kernel", "mm", "transparent_hugepage");
        HugePages pages = vfs.Machine.MemorySystem.HugePages;
        Setting(fs, huge, "enabled", () => Choice(pages.Policy), text => StorePolicy(pages, text));
        Text(fs, huge, "defrag", "always defer defer+madvise madvise [never]\n");
        Text(fs, huge, "use_zero_page", "0\n");
        Text(fs, huge, "shmem_enabled", "always within_size advise [never] deny force\n");
        Text(fs, huge, "hpage_pmd_size", "2097152\n");
        TlbShootdown shootdown = vfs.Machine.MemorySystem.Shootdown;
        fs.AddEntry(Directories(fs, "kernel", "debug", "x86"), "tlb_single_page_flush_ceiling",
            new ProcText(fs, 0x1B6, 0, 0, _ => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{shootdown.Ceiling}\n"))
            {
                Store = (_, text) => StoreCeiling(shootdown, text),
            });
        Dentry remote = Directories(fs, "kernel", "debug", "remote_mapping");
        for (int i = 0; i < Mirrors.RemoteMaps.Files.Length; i++)
        {
            var counter = (Mirrors.RemoteMapCounter)i;
            Setting(fs, remote, Mirrors.RemoteMaps.Files[i], () => Line(vfs.Machine.RemoteMaps[counter]), null);
        }
        foreach (HugeTlbPool pool in vfs.Machine.MemorySystem.HugeTlb.All)
        {
            Dentry directory = Directories(fs, "kernel", "mm", "hugepages", string.Create(CultureInfo.InvariantCulture, $"hugepages-{pool.PageSize >> 10}kB"));
            Setting(fs, directory, "nr_hugepages", () => Line(pool.Total), text => ProcFs.StoreNumber(text, pool.Resize, long.MaxValue));
            Setting(fs, directory, "nr_overcommit_hugepages", () => Line(pool.MaxSurplus), text => ProcFs.StoreNumber(text, count => pool.MaxSurplus = count, long.MaxValue));
            Setting(fs, directory, "free_hugepages", () => Line(pool.Free), null);
            Setting(fs, directory, "resv_hugepages", () => Line(pool.Reserved), null);
            Setting(fs, directory, "surplus_hugepages", () => Line(pool.Surplus), null);
        }
        Mirrors.DmaBufs buffers = vfs.Machine.DmaBufs;
        Dentry udmabuf = Directories(fs, "module", "udmabuf", "parameters");
        Setting(fs, udmabuf, "list_limit", () => Line(buffers.Udmabuf.ListLimit), text => StoreLimit(buffers, "list_limit", text));
        Setting(fs, udmabuf, "size_limit_mb", () => Line(buffers.Udmabuf.SizeLimitMb), text => StoreLimit(buffers, "size_limit_mb", text));
        Directories(fs, "fs", "mshare");
        Directories(fs, "class");
        Directories(fs, "block");
        return fs;
    }

    /// <summary>A flush page by page of more would take so long that the machine seems to hang.</summary>
    private const int MaxCeiling = 1 << 20;

    /// <summary>tlbflush_write_file: a number that is not negative; Linux takes any that fits an int.</summary>
    private static long StoreCeiling(TlbShootdown shootdown, string text)
    {
        if (!int.TryParse(text.AsSpan().TrimEnd('\n'), System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out int ceiling)
            || ceiling is < 0 or > MaxCeiling)
        {
            return -Errno.EINVAL;
        }
        shootdown.Ceiling = (ulong)ceiling;
        return 0;
    }

    private static long StoreLimit(Mirrors.DmaBufs buffers, string name, string text)
    {
        if (!int.TryParse(text.AsSpan().TrimEnd('\n'), NumberStyles.None, CultureInfo.InvariantCulture, out int limit) || !buffers.Udmabuf.TrySet(name, limit, out Mirrors.UdmabufOptions changed))
            return -Errno.EINVAL;
        buffers.Udmabuf = changed;
        return 0;
    }

    private static Dentry Directories(TmpFs fs, params ReadOnlySpan<string> names)
    {
        Dentry at = fs.Root;
        foreach (string name in names)
        {
            at.Inode.Lookup(null!, at, name, out Dentry? next);
            at = next ?? fs.AddDirectory(at, name, 0x1ED, 0, 0);
        }
        return at;
    }

    private static string Line(long number) => number.ToString(CultureInfo.InvariantCulture) + "\n";

    /// <summary>The policies, the one that holds in brackets.</summary>
    private static string Choice(HugePagePolicy chosen) => chosen switch
    {
        HugePagePolicy.Always => "[always] madvise never\n",
        HugePagePolicy.Madvise => "always [madvise] never\n",
        _ => "always madvise [never]\n",
    };

    private static long StorePolicy(HugePages pages, string text)
    {
        if (!HugePagePolicies.TryParse(text.TrimEnd('\n'), out HugePagePolicy policy))
            return -Errno.EINVAL;
        pages.Policy = policy;
        return 0;
    }

    /// <summary>A file whose text is made when it is read, and that can be written if <paramref name="store"/> is given.</summary>
    private static void Setting(TmpFs fs, Dentry directory, string name, Func<string> text, Func<string, long>? store) =>
        fs.AddEntry(directory, name, new ProcText(fs, store is null ? 0x124u : 0x1B6u, 0, 0, _ => text()) { Store = store is null ? null : (_, written) => store(written) });

    private static void Text(TmpFs fs, Dentry directory, string name, string text) =>
        fs.AddEntry(directory, name, new ProcText(fs, 0x124, 0, 0, _ => text));
}

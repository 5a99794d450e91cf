using System.Globalization;
using System.Text;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files.Proc;

/// <summary>/proc/PID/maps and smaps (fs/proc/task_mmu.c).</summary>
internal static class MapsText
{
    /// <summary>Where names begin on a line.</summary>
    private const int NameColumn = 73;

    private readonly record struct Row(ulong Start, ulong End, VmFlags Flags, ulong Offset, OpenFile? File, string? Name, VmaUsage Usage,
        ulong PageSize, bool MayHaveHugePages);

    public static string Format(Task reader, Mm mm, bool details)
    {
        if (!mm.TryGet())
            return "";
        List<Row> rows = Collect(reader, mm, details);
        // 65,530 mappings with names of 4,095 bytes are much: beyond what the kernel may keep, there is nobody who could read it.
        KernelMemory memory = reader.Machine.KernelMemory;
        long most = memory.Limit - memory.Used;
        var text = new StringBuilder();
        foreach (Row row in rows)
        {
            if (text.Length <= most)
            {
                AppendLine(text, reader, row, row.Name ?? Label(mm, row));
                if (details)
                    AppendDetails(text, row);
            }
            row.File?.Put();
        }
        mm.Put(reader);
        // The page of the oldest virtual system calls lies in the kernel's half.
        text.Append("ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0                  [vsyscall]\n");
        return text.ToString();
    }

    /// <summary>A copy of the list, so that names are made without the mmap lock.</summary>
    private static List<Row> Collect(Task reader, Mm mm, bool details)
    {
        var rows = new List<Row>();
        using (mm.MmapLock.EnterRead(reader))
        {
            for (Vma? v = mm.Vmas.First; v is not null; v = mm.Vmas.Next(v))
            {
                rows.Add(new Row(v.Start, v.End, v.Flags, v.IsAnonymous ? 0 : v.PageOffset << 12, v.File?.Get(), v.Name,
                    details ? mm.UsageOf(reader, v) : default, Mm.PageSizeOf(v), mm.System.HugePages.IsEligible(v)));
                if (v is { Shares.IsLeaky: false })
                    CollectShared(reader, v, rows, details);
            }
        }
        return rows;
    }

    /// <summary>A container is followed by what is mapped in it: the host's mappings, at the reader's addresses, with what both allow.</summary>
    private static void CollectShared(Task reader, Vma container, List<Row> rows, bool details)
    {
        using var host = new Mm.HostScope(reader, container, container.Start);
        for (ulong at = container.Start; Mm.NextShared(container, at, container.End, out Mm.SharedVma shared); at = shared.End)
        {
            Vma v = shared.Vma;
            VmFlags flags = v.Flags & (container.Flags | ~VmFlags.Access);
            rows.Add(new Row(shared.Start, shared.End, flags, v.IndexOf(shared.HostStart) << 12, v.File?.Get(), v.Name,
                details ? host.Mm.UsageOf(reader, v, shared.HostStart, shared.HostEnd) : default, Mm.PageSizeOf(v), false));
        }
    }

    private static string Label(Mm mm, Row row)
    {
        if (row.File is not null)
            return "";
        if (mm.CurrentBrk > mm.StartBrk && row.Start < mm.CurrentBrk && row.End > mm.StartBrk)
            return "[heap]";
        return row.Start <= mm.StartStack && mm.StartStack < row.End ? "[stack]" : "";
    }

    private static void AppendLine(StringBuilder text, Task reader, Row row, string name)
    {
        int start = text.Length;
        ulong device = 0, inode = 0;
        if (row.File is { } file)
        {
            if (file.GetAttributes(out InodeAttributes a) == 0)
                (device, inode) = (a.Device, a.Inode);
            name = file.DisplayName;
        }
        char r = (row.Flags & VmFlags.Read) != 0 ? 'r' : '-', w = (row.Flags & VmFlags.Write) != 0 ? 'w' : '-', x = (row.Flags & VmFlags.Exec) != 0 ? 'x' : '-';
        char p = (row.Flags & VmFlags.MayShare) != 0 ? 's' : 'p';
        text.Append(CultureInfo.InvariantCulture, $"{row.Start:x8}-{row.End:x8} {r}{w}{x}{p} {row.Offset:x8} ");
        text.Append(CultureInfo.InvariantCulture, $"{DeviceNumber.Major(device):x2}:{DeviceNumber.Minor(device):x2} {inode} ");
        if (name.Length > 0)
            text.Append(' ', Math.Max(0, NameColumn - (text.Length - start))).Append(name.Replace("\n", "\\012", StringComparison.Ordinal));
        text.Append('\n');
    }

    private static void AppendDetails(StringBuilder text, Row row)
    {
        AppendSize(text, "Size:", row.End - row.Start);
        AppendSize(text, "KernelPageSize:", row.PageSize);
        AppendSize(text, "MMUPageSize:", row.PageSize);
        AppendUsage(text, row.Usage, rollup: false);
        text.Append(CultureInfo.InvariantCulture, $"THPeligible:           {(row.MayHaveHugePages ? 1 : 0)}\nVmFlags: ");
        foreach ((VmFlags flag, string name) in FlagNames)
        {
            if ((row.Flags & flag) != 0)
                text.Append(name).Append(' ');
        }
        text.Append('\n');
    }

    private static void AppendUsage(StringBuilder text, in VmaUsage usage, bool rollup)
    {
        AppendSize(text, "Rss:", usage.Resident);
        AppendSize(text, "Pss:", usage.Proportional);
        AppendSize(text, "Pss_Dirty:", usage.ProportionalDirty);
        if (rollup)
        {
            AppendSize(text, "Pss_Anon:", usage.ProportionalAnon);
            AppendSize(text, "Pss_File:", usage.ProportionalFile);
            AppendSize(text, "Pss_Shmem:", usage.ProportionalShmem);
        }
        AppendSize(text, "Shared_Clean:", usage.SharedClean);
        AppendSize(text, "Shared_Dirty:", usage.SharedDirty);
        AppendSize(text, "Private_Clean:", usage.PrivateClean);
        AppendSize(text, "Private_Dirty:", usage.PrivateDirty);
        AppendSize(text, "Referenced:", usage.Referenced);
        AppendSize(text, "Anonymous:", usage.Anonymous);
        AppendSize(text, "KSM:", 0);
        AppendSize(text, "LazyFree:", usage.LazyFree);
        AppendSize(text, "AnonHugePages:", usage.AnonHuge);
        AppendSize(text, "ShmemPmdMapped:", 0);
        AppendSize(text, "FilePmdMapped:", 0);
        AppendSize(text, "Shared_Hugetlb:", usage.SharedHugeTlb);
        AppendSize(text, "Private_Hugetlb:", usage.PrivateHugeTlb);
        AppendSize(text, "Swap:", usage.Swapped);
        AppendSize(text, "SwapPss:", usage.SwapProportional);
        AppendSize(text, "Locked:", usage.Locked);
    }

    private static void AppendSize(StringBuilder text, string name, ulong bytes) =>
        text.Append(CultureInfo.InvariantCulture, $"{name,-16}{bytes >> 10,8} kB\n");

    /// <summary>show_smap_vma_flags.</summary>
    private static readonly (VmFlags Flag, string Name)[] FlagNames =
    [
        (VmFlags.Read, "rd"), (VmFlags.Write, "wr"), (VmFlags.Exec, "ex"), (VmFlags.Shared, "sh"), (VmFlags.MayRead, "mr"), (VmFlags.MayWrite, "mw"),
        (VmFlags.MayExec, "me"), (VmFlags.MayShare, "ms"), (VmFlags.GrowsDown, "gd"), (VmFlags.Locked, "lo"), (VmFlags.SequentialRead, "sr"),
        (VmFlags.RandomRead, "rr"), (VmFlags.DontCopy, "dc"), (VmFlags.DontExpand, "de"), (VmFlags.Account, "ac"), (VmFlags.NoReserve, "nr"), (VmFlags.HugeTlb, "ht"), (VmFlags.WipeOnFork, "wf"),
        (VmFlags.DontDump, "dd"), (VmFlags.SoftDirty, "sd"), (VmFlags.HugePage, "hg"), (VmFlags.NoHugePage, "nh"), (VmFlags.Mergeable, "mg"),
    ];

    /// <summary>/proc/PID/smaps_rollup: the sum over all VMAs.</summary>
    public static string Rollup(Task reader, Mm mm)
    {
        if (!mm.TryGet())
            return "";
        var total = default(VmaUsage);
        List<Row> rows = Collect(reader, mm, details: true);
        foreach (Row row in rows)
        {
            total.Add(row.Usage);
            row.File?.Put();
        }
        mm.Put(reader);
        if (rows.Count == 0)
            return "";
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{rows[0].Start:x8}-{rows[^1].End:x8} ---p 00000000 00:00 0 ");
        text.Append(' ', Math.Max(0, NameColumn - text.Length)).Append("[rollup]\n");
        AppendUsage(text, total, rollup: true);
        return text.ToString();
    }
}

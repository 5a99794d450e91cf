using Emulator.Kernel.Files.Proc;
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
        Text(fs, huge, "enabled", "always madvise [never]\n");
        Text(fs, huge, "defrag", "always defer defer+madvise madvise [never]\n");
        Text(fs, huge, "hpage_pmd_size", "2097152\n");
        TlbShootdown shootdown = vfs.Machine.MemorySystem.Shootdown;
        fs.AddEntry(Directories(fs, "kernel", "debug", "x86"), "tlb_single_page_flush_ceiling",
            new ProcText(fs, 0x1B6, 0, 0, _ => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{shootdown.Ceiling}\n"))
            {
                Store = (_, text) => StoreCeiling(shootdown, text),
            });
        Directories(fs, "class");
        Directories(fs, "block");
        return fs;
    }

    /// <summary>tlbflush_write_file: a number that fits an int and is not negative.</summary>
    private static long StoreCeiling(TlbShootdown shootdown, string text)
    {
        if (!int.TryParse(text.AsSpan().TrimEnd('\n'), System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out int ceiling)
            || ceiling < 0)
        {
            return -Errno.EINVAL;
        }
        shootdown.Ceiling = (ulong)ceiling;
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

    private static void Text(TmpFs fs, Dentry directory, string name, string text) =>
        fs.AddEntry(directory, name, new ProcText(fs, 0x124, 0, 0, _ => text));
}

using System.Globalization;
using System.Text;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files.Proc;

/// <summary>/proc/PID/mounts and mountinfo.</summary>
internal static class MountsText
{
    public static string Mounts(Task reader)
    {
        var text = new StringBuilder();
        foreach (Mount m in reader.Machine.Vfs.Mounts)
            text.Append(CultureInfo.InvariantCulture, $"{Escape(m.Source)} {Escape(PathOf(reader, m))} {m.Root.Filesystem.TypeName} {Options(m)} 0 0\n");
        return text.ToString();
    }

    public static string MountInfo(Task reader)
    {
        var text = new StringBuilder();
        foreach (Mount m in reader.Machine.Vfs.Mounts)
        {
            ulong device = m.Root.Filesystem.Device;
            text.Append(CultureInfo.InvariantCulture, $"{m.Id} {m.ParentDirectory.Mount?.Id ?? 1} {DeviceNumber.Major(device)}:{DeviceNumber.Minor(device)} / ");
            text.Append(CultureInfo.InvariantCulture, $"{Escape(PathOf(reader, m))} {Options(m)} - {m.Root.Filesystem.TypeName} {Escape(m.Source)} {(m.ReadOnly ? "ro" : "rw")}\n");
        }
        return text.ToString();
    }

    private static string PathOf(Task reader, Mount m) => reader.Machine.Vfs.PathName(new Path(m, m.Root));

    private static string Options(Mount m) => m.ReadOnly ? "ro,relatime" : "rw,relatime";

    private static string Escape(string name) =>
        name.Replace("\\", "\\134", StringComparison.Ordinal).Replace(" ", "\\040", StringComparison.Ordinal).Replace("\n", "\\012", StringComparison.Ordinal);
}

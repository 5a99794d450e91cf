using System.Globalization;

namespace Emulator.Kernel.Mirrors;

/// <summary>How /dev/udmabuf behaves; on the command line <c>MODE[,list_limit=N][,size_limit_mb=N]</c>, the latter two being the driver's module parameters.</summary>
/// <param name="Mode">The design of the exporter.</param>
/// <param name="ListLimit">Items of a buffer.</param>
/// <param name="SizeLimitMb">MiB of a buffer.</param>
public sealed record UdmabufOptions(UdmabufMode Mode, int ListLimit = 1024, int SizeLimitMb = 64)
{
    /// <summary>More would be too many for the emulator's tables of a buffer's pages.</summary>
    private const int MostEntries = 1 << 20, MostMegabytes = 1 << 16;

    public static UdmabufOptions Default { get; } = new(UdmabufModes.FileNotifier);

    /// <summary>Reads the options as the command line has them.</summary>
    public static bool TryParse(string text, out UdmabufOptions options, out string error)
    {
        options = Default;
        string[] parts = text.Split(',');
        if (UdmabufModes.Find(parts[0]) is not { } mode)
        {
            error = $"the modes are {string.Join(", ", UdmabufModes.All.Select(static m => m.Name))}";
            return false;
        }
        options = new UdmabufOptions(mode);
        foreach (string part in parts.AsSpan(1))
        {
            string[] setting = part.Split('=');
            if (setting.Length != 2 || !int.TryParse(setting[1], NumberStyles.None, CultureInfo.InvariantCulture, out int value) || !options.TrySet(setting[0], value, out options))
            {
                error = $"'{part}' is not list_limit=N, up to {MostEntries}, or size_limit_mb=N, up to {MostMegabytes}";
                return false;
            }
        }
        error = "";
        return true;
    }

    /// <summary>Reads several options, a comma between them: each begins with its design. <c>all</c>: every design.</summary>
    public static bool TryParseList(string text, out IReadOnlyList<UdmabufOptions> list, out string error)
    {
        var found = new List<UdmabufOptions>();
        list = found;
        error = "";
        if (text == "all")
        {
            found.AddRange(UdmabufModes.All.Select(static mode => new UdmabufOptions(mode)));
            return true;
        }
        string[] words = text.Split(',');
        for (int start = 0, end; start < words.Length; start = end)
        {
            end = start + 1;
            while (end < words.Length && words[end].Contains('='))
                end++;
            if (!TryParse(string.Join(',', words[start..end]), out UdmabufOptions options, out error))
                return false;
            found.Add(options);
        }
        return true;
    }

    /// <summary>Sets a module parameter.</summary>
    internal bool TrySet(string name, int value, out UdmabufOptions changed)
    {
        changed = name == "list_limit" ? this with { ListLimit = value } : this with { SizeLimitMb = value };
        return value >= 0 && (name == "list_limit" ? value <= MostEntries : name == "size_limit_mb" && value <= MostMegabytes);
    }
}

using System.Globalization;

namespace Emulator.Cli.Commands;

/// <summary>An argument of the guest that takes one value after the other: <c>{NAME}</c> in its arguments, or one more argument behind them.</summary>
internal sealed record Sweep(string Name, IReadOnlyList<string> Values)
{
    /// <summary>Reads NAME=V1,V2,...; null: it is not of that form.</summary>
    public static Sweep? Parse(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        string[] values = text[(equals + 1)..].Split(',');
        return equals <= 0 || values.Any(value => value.Length == 0) ? null : new Sweep(text[..equals], values);
    }

    /// <summary>The arguments with a value in its place.</summary>
    /// <param name="arguments">With argv[0], which is left alone.</param>
    public List<byte[]> Apply(IReadOnlyList<byte[]> arguments, string value)
    {
        byte[] hole = System.Text.Encoding.UTF8.GetBytes($"{{{Name}}}"), filling = System.Text.Encoding.UTF8.GetBytes(value);
        bool found = false;
        var applied = new List<byte[]>(arguments.Take(1));
        foreach (byte[] argument in arguments.Skip(1))
        {
            int at = argument.AsSpan().IndexOf(hole);
            found |= at >= 0;
            applied.Add(at < 0 ? argument : [.. argument[..at], .. filling, .. argument[(at + hole.Length)..]]);
        }
        if (!found)
            applied.Add(filling);
        return applied;
    }

    /// <summary>Reads a list of numbers of vCPUs: 1,2,8.</summary>
    public static bool TryParseVcpus(string text, int most, out List<int> vcpus)
    {
        vcpus = [];
        foreach (string word in text.Split(','))
        {
            if (!int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count < 1 || count > most)
                return false;
            vcpus.Add(count);
        }
        return true;
    }
}

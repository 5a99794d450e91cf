using System.Text;

namespace Emulator.Cli.Host;

/// <summary>
/// Arguments and environment as the bytes that they are on Linux. The runtime's strings have lost what is not UTF-8, and a guest must
/// get exactly what it was given.
/// </summary>
internal static class HostArguments
{
    /// <summary>The bytes of the last <paramref name="count"/> of our own arguments.</summary>
    public static List<byte[]> Last(string[] args, int count)
    {
        List<byte[]> raw = Read("/proc/self/cmdline");
        if (raw.Count >= args.Length)
            return raw.GetRange(raw.Count - count, count);
        return args[^count..].Select(Encoding.UTF8.GetBytes).ToList();
    }

    /// <summary>The environment that we were started with.</summary>
    public static List<byte[]> Environment()
    {
        List<byte[]> raw = Read("/proc/self/environ");
        if (raw.Count > 0)
            return raw;
        foreach (System.Collections.DictionaryEntry entry in System.Environment.GetEnvironmentVariables())
            raw.Add(Encoding.UTF8.GetBytes($"{entry.Key}={entry.Value}"));
        return raw;
    }

    /// <summary>Sets <c>NAME=VALUE</c>, in place of an older value.</summary>
    public static void Set(List<byte[]> environment, string assignment)
    {
        Remove(environment, assignment[..assignment.IndexOf('=', StringComparison.Ordinal)]);
        environment.Add(Encoding.UTF8.GetBytes(assignment));
    }

    public static void Remove(List<byte[]> environment, string name)
    {
        byte[] prefix = Encoding.UTF8.GetBytes(name + "=");
        environment.RemoveAll(entry => entry.AsSpan().StartsWith(prefix));
    }

    private static List<byte[]> Read(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (IOException)
        {
            return [];
        }
        var list = new List<byte[]>();
        int start = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] != 0)
                continue;
            list.Add(bytes[start..i]);
            start = i + 1;
        }
        return list;
    }
}

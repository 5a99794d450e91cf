using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Tracing;

/// <summary>Writes a system call's argument as strace does, by its kind (<see cref="SyscallDefinition.Arguments"/>).</summary>
internal static class ArgumentText
{
    /// <summary>strace's default for -s.</summary>
    private const int MaxString = 32;

    /// <param name="result">Null while the call has not returned; what it returned, for <c>out:</c> kinds.</param>
    public static string Format(Task task, string[] kinds, int index, in SyscallArgs args, long? result)
    {
        ulong value = args[index];
        string kind = kinds[index];
        if (kind.StartsWith("out:", StringComparison.Ordinal))
        {
            // A failed call has filled in nothing.
            if (result is < 0)
                return Pointer(value);
            kind = kind[4..];
        }
        switch (kind)
        {
            case "fd" or "int" or "clockid" or "pid" or "uid" or "gid":
                return ((int)value).ToString(CultureInfo.InvariantCulture);
            case "dirfd":
                return (int)value == -100 ? "AT_FDCWD" : ((int)value).ToString(CultureInfo.InvariantCulture);
            case "size" or "long" or "offset":
                return ((long)value).ToString(CultureInfo.InvariantCulture);
            case "uint":
                return ((uint)value).ToString(CultureInfo.InvariantCulture);
            case "mode":
                return "0" + Convert.ToString((int)(value & 0xFFFF), 8);
            case "hex":
                return value == 0 ? "0" : Pointer(value);
            case "path" or "string":
                return Path(task, value);
            case "buf":
                return Bytes(task, value, index + 1 < kinds.Length && kinds[index + 1].EndsWith("size", StringComparison.Ordinal)
                    ? Math.Min(result is { } read ? (ulong)read : ulong.MaxValue, args[index + 1]) : (ulong)(result ?? 0));
            case "argv":
                return Strings(task, value);
            case "signal":
                return SignalText.Name((int)value);
            case "sigset":
                return SignalSet(task, value);
            case "timespec":
                return TimeSpecification(task, value, "tv_nsec");
            case "timeval":
                return TimeSpecification(task, value, "tv_usec");
            default:
                return FlagText.Format(kind, value) ?? Pointer(value);
        }
    }

    private static string Pointer(ulong value) => value == 0 ? "NULL" : "0x" + value.ToString("x", CultureInfo.InvariantCulture);

    private static string Path(Task task, ulong address)
    {
        if (address == 0)
            return "NULL";
        return task.ReadString(address, 4096, out byte[] bytes) == 0 ? Quote(bytes, complete: true, int.MaxValue) : Pointer(address);
    }

    private static string Bytes(Task task, ulong address, ulong count)
    {
        if (address == 0)
            return "NULL";
        var bytes = new byte[Math.Min(count, MaxString)];
        return task.CopyFromUser(address, bytes) ? Quote(bytes, count <= MaxString, MaxString) : Pointer(address);
    }

    private static string Strings(Task task, ulong address)
    {
        if (address == 0)
            return "NULL";
        var text = new StringBuilder("[");
        for (int i = 0; i < MaxString; i++)
        {
            if (!task.TryRead(address + (ulong)i * 8, out ulong pointer))
                return Pointer(address);
            if (pointer == 0)
                return text.Append(']').ToString();
            text.Append(i == 0 ? "" : ", ").Append(Path(task, pointer));
        }
        return text.Append(", ...]").ToString();
    }

    private static string SignalSet(Task task, ulong address)
    {
        if (address == 0)
            return "NULL";
        if (!task.TryRead(address, out ulong set))
            return Pointer(address);
        // strace prints the complement of a set that is nearly full.
        bool inverted = System.Numerics.BitOperations.PopCount(set) > 32;
        var names = new List<string>();
        for (int signal = 1; signal <= 64; signal++)
        {
            if (((inverted ? ~set : set) >> (signal - 1) & 1) != 0)
                names.Add(SignalText.Name(signal)["SIG".Length..]);
        }
        return (inverted ? "~[" : "[") + string.Join(' ', names) + "]";
    }

    private static string TimeSpecification(Task task, ulong address, string fraction)
    {
        if (address == 0)
            return "NULL";
        Span<byte> bytes = stackalloc byte[16];
        return task.CopyFromUser(address, bytes)
            ? string.Create(CultureInfo.InvariantCulture, $"{{tv_sec={BinaryPrimitives.ReadInt64LittleEndian(bytes)}, {fraction}={BinaryPrimitives.ReadInt64LittleEndian(bytes[8..])}}}")
            : Pointer(address);
    }

    private static string Quote(ReadOnlySpan<byte> bytes, bool complete, int max)
    {
        var text = new StringBuilder("\"");
        for (int i = 0; i < bytes.Length && i < max; i++)
        {
            byte b = bytes[i];
            text.Append((char)b switch
            {
                '\n' => "\\n",
                '\t' => "\\t",
                '\r' => "\\r",
                '\v' => "\\v",
                '\f' => "\\f",
                '"' => "\\\"",
                '\\' => "\\\\",
                >= ' ' and <= '~' => ((char)b).ToString(),
                // The shortest octal form that the next character cannot extend.
                _ => "\\" + (i + 1 < bytes.Length && bytes[i + 1] is >= (byte)'0' and <= (byte)'7'
                    ? Convert.ToString(b, 8).PadLeft(3, '0') : Convert.ToString(b, 8)),
            });
        }
        return text.Append(complete ? "\"" : "\"...").ToString();
    }
}

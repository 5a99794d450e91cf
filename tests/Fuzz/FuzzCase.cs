using System.Globalization;
using Emulator.Kernel.Syscalls;

namespace Emulator.Tests.Fuzz;

/// <summary>One step of a fuzzing guest: a system call, or an access to its memory.</summary>
/// <param name="Operation">A system call's number, or one of the constants here.</param>
/// <param name="Arguments">Six of them.</param>
/// <param name="Blob">What lies at <see cref="FuzzGuest.BlobOf"/> when it is done: the structures that arguments point to.</param>
internal sealed record FuzzCase(int Operation, ulong[] Arguments, byte[] Blob)
{
    /// <summary>Reads the byte at the first argument, writes it, copies (destination, source, length), or calls it.</summary>
    public const int Load = 4096, Store = 4097, Copy = 4098, Execute = 4099;

    public override string ToString()
    {
        string name = Operation switch { Load => "load", Store => "store", Copy => "copy", Execute => "execute", _ => SyscallNames.Of((ulong)Operation) };
        return string.Create(CultureInfo.InvariantCulture, $"{name}({string.Join(", ", Arguments.Select(a => $"0x{a:x}"))}) blob {Convert.ToHexStringLower(Blob.AsSpan().TrimEnd((byte)0))}");
    }
}

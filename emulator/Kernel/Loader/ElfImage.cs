using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Loader;

/// <summary>Why a file cannot be run: an errno for the guest's execve and a sentence for people.</summary>
/// <param name="Errno">Positive.</param>
/// <param name="Message">What is wrong, without the file's name.</param>
public sealed record LoadError(int Errno, string Message);

/// <summary>A program header (Elf64_Phdr).</summary>
internal readonly record struct ElfSegment(uint Type, uint Flags, ulong Offset, ulong Address, ulong FileSize, ulong MemorySize, ulong Alignment)
{
    public const uint Load = 1, Interpreter = 3, ProgramHeaders = 6, GnuStack = 0x6474_E551;
    public const uint Executable = 1, Writable = 2, Readable = 4;

    public ulong PageStart => Address & ~0xFFFUL;

    public ulong End => Address + MemorySize;
}

/// <summary>
/// The headers of an x86-64 ELF file. Every number in the file is hostile until checked: nothing is read outside the file, and no sum
/// of two of its numbers is formed before it is known not to wrap.
/// </summary>
internal sealed class ElfImage
{
    public const int HeaderSize = 64, SegmentSize = 56;

    private const int MaxSegments = 65536 / SegmentSize, MaxInterpreterName = 4096;
    private const ushort TypeExecutable = 2, TypeDynamic = 3, MachineX8664 = 62;

    private ElfImage(byte[] header, ElfSegment[] segments)
    {
        IsPositionIndependent = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(16)) == TypeDynamic;
        Entry = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(24));
        HeadersOffset = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(32));
        SectionsOffset = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(40));
        SectionSize = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(58));
        SectionCount = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(60));
        Segments = ImmutableCollectionsMarshal.AsImmutableArray(segments);
    }

    public bool IsPositionIndependent { get; }

    public ulong Entry { get; }

    public ulong HeadersOffset { get; }

    public ulong SectionsOffset { get; }

    public int SectionSize { get; }

    public int SectionCount { get; }

    public ImmutableArray<ElfSegment> Segments { get; }

    /// <summary>The path in PT_INTERP, or null for a static program.</summary>
    public byte[]? Interpreter { get; private set; }

    /// <summary>PT_GNU_STACK asks for an executable stack; without the header x86-64 has none.</summary>
    public bool ExecutableStack { get; private set; }

    /// <summary>First page of all PT_LOAD segments, and the first byte behind them.</summary>
    public ulong LowestAddress { get; private set; }

    public ulong HighestAddress { get; private set; }

    /// <summary>The largest alignment that a PT_LOAD asks for, at least a page.</summary>
    public ulong Alignment { get; private set; } = 4096;

    /// <summary>Reads and checks the headers; null with the reason.</summary>
    /// <param name="file">The program.</param>
    /// <param name="task">As for <see cref="PageCache.Read"/>.</param>
    /// <param name="error">Null if all is well.</param>
    public static ElfImage? Read(PageCache file, Task? task, out LoadError? error)
    {
        byte[] header = new byte[HeaderSize];
        error = CheckHeader(header, file.Read(0, header, task));
        if (error is not null || ReadSegments(file, task, header, out error) is not { } segments)
            return null;
        var image = new ElfImage(header, segments);
        error = image.Check(file, task);
        return error is null ? image : null;
    }

    private static LoadError Malformed(string message) => new(Errno.ENOEXEC, message);

    private static LoadError? CheckHeader(byte[] header, long length)
    {
        if (length < 0)
            return new LoadError((int)-length, length == -Errno.ENOMEM ? "does not fit: the machine's memory is exhausted" : "cannot be read");
        if (length < 4 || !header.AsSpan(0, 4).SequenceEqual("\u007FELF"u8))
            return Malformed(length == 0 ? "is empty" : "is not an ELF program");
        if (length < 20)
            return Malformed("is truncated: the ELF header is incomplete");
        if (header[4] == 1)
            return Malformed("is a 32-bit program; only x86-64 programs run here");
        ushort machine = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(18));
        if (header[4] != 2 || header[5] != 1 || machine != MachineX8664)
            return Malformed($"is a program for another processor (ELF machine {machine}); only x86-64 programs run here");
        if (length < HeaderSize)
            return Malformed("is truncated: the ELF header is incomplete");
        return BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(16)) is TypeExecutable or TypeDynamic
            ? null
            : Malformed("is an ELF file but no program (an object file or a core dump?)");
    }

    private static ElfSegment[]? ReadSegments(PageCache file, Task? task, byte[] header, out LoadError? error)
    {
        error = null;
        int size = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(54)), count = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(56));
        if (count == 0)
            error = Malformed("has no program headers: there is nothing to load");
        else if (size != SegmentSize || count > MaxSegments)
            error = Malformed("has malformed program headers");
        if (error is not null)
            return null;
        byte[] bytes = new byte[count * SegmentSize]; // 64 KiB at most.
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(32));
        if (offset > PageCache.MaxSize || file.Read(offset, bytes, task) != bytes.Length)
        {
            error = Malformed("is truncated: the program headers lie beyond its end");
            return null;
        }
        var segments = new ElfSegment[count];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> at = bytes.AsSpan(i * SegmentSize, SegmentSize);
            segments[i] = new ElfSegment(
                BinaryPrimitives.ReadUInt32LittleEndian(at), BinaryPrimitives.ReadUInt32LittleEndian(at[4..]),
                BinaryPrimitives.ReadUInt64LittleEndian(at[8..]), BinaryPrimitives.ReadUInt64LittleEndian(at[16..]),
                BinaryPrimitives.ReadUInt64LittleEndian(at[32..]), BinaryPrimitives.ReadUInt64LittleEndian(at[40..]),
                BinaryPrimitives.ReadUInt64LittleEndian(at[48..]));
        }
        return segments;
    }

    private LoadError? Check(PageCache file, Task? task)
    {
        LowestAddress = ulong.MaxValue;
        foreach (ElfSegment segment in Segments)
        {
            LoadError? error = segment.Type switch
            {
                ElfSegment.Load => CheckLoad(file, segment),
                ElfSegment.Interpreter when Interpreter is null => ReadInterpreter(file, task, segment),
                _ => null,
            };
            if (error is not null)
                return error;
            if (segment.Type == ElfSegment.GnuStack)
                ExecutableStack = (segment.Flags & ElfSegment.Executable) != 0;
        }
        return HighestAddress == 0 ? Malformed("has no segment to load") : null;
    }

    private LoadError? CheckLoad(PageCache file, in ElfSegment segment)
    {
        if (segment.FileSize > segment.MemorySize)
            return Malformed("has a segment that is larger in the file than in memory");
        if (segment.MemorySize > Layout.TaskSize || segment.Address > Layout.TaskSize - segment.MemorySize)
            return Malformed("has a segment outside the user's address space");
        if (((segment.Address ^ segment.Offset) & 0xFFF) != 0 && segment.FileSize > 0)
            return Malformed("has a segment whose file offset and address do not fit together");
        if (segment.FileSize > 0 && (segment.Offset > file.Size || segment.FileSize > file.Size - segment.Offset))
            return Malformed("is truncated: a segment lies beyond its end");
        if (segment.Alignment > 4096 && segment.Alignment <= 1UL << 30 && ulong.IsPow2(segment.Alignment))
            Alignment = Math.Max(Alignment, segment.Alignment);
        LowestAddress = Math.Min(LowestAddress, segment.PageStart);
        HighestAddress = Math.Max(HighestAddress, segment.End);
        return null;
    }

    private LoadError? ReadInterpreter(PageCache file, Task? task, in ElfSegment segment)
    {
        if (segment.FileSize is < 2 or > MaxInterpreterName || segment.Offset > PageCache.MaxSize)
            return Malformed("has a malformed interpreter name");
        byte[] name = new byte[segment.FileSize];
        if (file.Read(segment.Offset, name, task) != name.Length)
            return new LoadError(Errno.EIO, "is truncated: the interpreter's name lies beyond its end");
        if (name[^1] != 0)
            return Malformed("has a malformed interpreter name");
        Interpreter = name[..name.AsSpan().IndexOf((byte)0)];
        return null;
    }
}

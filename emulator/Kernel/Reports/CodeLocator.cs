using System.Buffers.Binary;
using System.Globalization;
using Emulator.Kernel.Files.Proc;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Reports;

/// <summary>Says where in a program's files an address lies. The symbol tables that it has read are kept: for one report, not for a run.</summary>
internal sealed class CodeLocator
{
    private const int HeaderSize = 64, ProgramHeaderSize = 56, LoadSegment = 1;

    private readonly Dictionary<PageCache, SymbolTable> _symbols = [];

    /// <summary>The line of /proc/PID/maps that covers the address, without the columns that only programs read; null if nothing is mapped.</summary>
    public static string? Mapping(Task task, ulong address)
    {
        foreach (string line in MapsText.Format(task, task.Mm, details: false).Split('\n'))
        {
            string[] columns = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (columns.Length < 2 || !TryRange(columns[0], out ulong start, out ulong end) || address < start || address >= end)
                continue;
            return columns.Length > 5 ? $"{columns[0]} {columns[1]} {string.Join(' ', columns[5..])}" : $"{columns[0]} {columns[1]} (anonymous)";
        }
        return null;
    }

    /// <summary>Null for memory without a file.</summary>
    public CodeLocation? Find(Task task, ulong address)
    {
        PageCache cache;
        ulong offset;
        using (task.Mm.MmapLock.EnterRead(task))
        {
            if (task.Mm.Vmas.Find(address) is not { File: not null, Cache: { } mapped } vma)
                return null;
            cache = mapped;
            offset = address - vma.Start + (vma.PageOffset << 12);
        }
        string file = string.Create(CultureInfo.InvariantCulture, $"{Mapping(task, address)?.Split('/')[^1]}:0x{offset:x}");
        return ToLinkAddress(cache, offset) is { } linked && Symbols(cache).Find(linked) is { } symbol
            ? new CodeLocation(string.Create(CultureInfo.InvariantCulture, $"{symbol.Name}+0x{symbol.Offset:x}"), file)
            : new CodeLocation(null, file);
    }

    private SymbolTable Symbols(PageCache cache)
    {
        if (!_symbols.TryGetValue(cache, out SymbolTable? symbols))
            _symbols.Add(cache, symbols = SymbolTable.Read(cache));
        return symbols;
    }

    /// <summary>The address that the linker gave to a byte of the file: what symbol tables speak of.</summary>
    private static ulong? ToLinkAddress(PageCache file, ulong offset)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        if (file.Read(0, header, task: null) != HeaderSize)
            return null;
        ulong table = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(header[56..]);
        Span<byte> segment = stackalloc byte[ProgramHeaderSize];
        for (int i = 0; i < count && file.Read(table + (ulong)(i * ProgramHeaderSize), segment, task: null) == ProgramHeaderSize; i++)
        {
            ulong start = BinaryPrimitives.ReadUInt64LittleEndian(segment[8..]), size = BinaryPrimitives.ReadUInt64LittleEndian(segment[32..]);
            if (BinaryPrimitives.ReadUInt32LittleEndian(segment) == LoadSegment && offset - start < size)
                return offset - start + BinaryPrimitives.ReadUInt64LittleEndian(segment[16..]);
        }
        return null;
    }

    private static bool TryRange(string text, out ulong start, out ulong end)
    {
        end = 0;
        int dash = text.IndexOf('-', StringComparison.Ordinal);
        return ulong.TryParse(text.AsSpan(0, Math.Max(dash, 0)), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out start)
            && ulong.TryParse(text.AsSpan(dash + 1), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out end);
    }
}

using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Loader;

/// <summary>
/// The functions of an ELF file by address, from .symtab and .dynsym, for reports about crashes. The file is hostile: whatever does not
/// fit is left out.
/// </summary>
public sealed class SymbolTable
{
    private const int SectionSize = 64, SymbolSize = 24, MaxTable = 16 << 20;

    /// <summary>Sections may lie over each other in a file, and names in names: neither may cost more than a large real program's.</summary>
    private const int MaxTables = 4, MaxSymbols = 1 << 20, MaxName = 4096, MaxNameBytes = 64 << 20;

    private const uint SymbolSection = 2, DynamicSymbolSection = 11;

    private readonly ulong[] _addresses;
    private readonly (ulong Size, string Name)[] _symbols;

    private SymbolTable(List<(ulong Address, ulong Size, string Name)> symbols)
    {
        symbols.Sort(static (a, b) => a.Address != b.Address ? a.Address.CompareTo(b.Address) : a.Size.CompareTo(b.Size));
        _addresses = [.. symbols.Select(s => s.Address)];
        _symbols = [.. symbols.Select(s => (s.Size, s.Name))];
    }

    /// <summary>Reads a file's symbols; an empty table when it has none or is no ELF file.</summary>
    public static SymbolTable Read(PageCache file)
    {
        var symbols = new List<(ulong, ulong, string)>();
        if (ElfImage.Read(file, task: null, out _) is { } image && image.SectionSize == SectionSize && image.SectionsOffset < file.Size)
        {
            byte[] sections = new byte[image.SectionCount * SectionSize]; // The count has 16 bits.
            int count = (int)Math.Max(0, file.Read(image.SectionsOffset, sections, task: null)) / SectionSize;
            int tables = 0, nameBytes = 0;
            for (int i = 0; i < count && tables < MaxTables; i++)
            {
                ReadOnlySpan<byte> section = sections.AsSpan(i * SectionSize, SectionSize);
                uint strings = BinaryPrimitives.ReadUInt32LittleEndian(section[40..]);
                if (BinaryPrimitives.ReadUInt32LittleEndian(section[4..]) is SymbolSection or DynamicSymbolSection && strings < count)
                {
                    tables++;
                    AddSymbols(file, section, sections.AsSpan((int)strings * SectionSize, SectionSize), symbols, ref nameBytes);
                }
            }
        }
        return new SymbolTable(symbols);
    }

    private static void AddSymbols(PageCache file, ReadOnlySpan<byte> section, ReadOnlySpan<byte> stringSection, List<(ulong, ulong, string)> symbols, ref int nameBytes)
    {
        byte[] table = ReadSection(file, section), strings = ReadSection(file, stringSection);
        for (int at = 0; at + SymbolSize <= table.Length && symbols.Count < MaxSymbols && nameBytes < MaxNameBytes; at += SymbolSize)
        {
            ReadOnlySpan<byte> symbol = table.AsSpan(at, SymbolSize);
            uint name = BinaryPrimitives.ReadUInt32LittleEndian(symbol);
            ulong address = BinaryPrimitives.ReadUInt64LittleEndian(symbol[8..]);
            // Functions (2), indirect functions (10) and what assembly code leaves untyped (0), if defined.
            if ((symbol[4] & 0xF) is not (0 or 2 or 10) || symbol[6..8] is [0, 0] || name == 0 || name >= strings.Length || address == 0)
                continue;
            ReadOnlySpan<byte> text = strings.AsSpan((int)name, (int)Math.Min(MaxName, strings.Length - name));
            int end = text.IndexOf((byte)0);
            nameBytes += Math.Max(end, 0);
            if (end > 0)
                symbols.Add((address, BinaryPrimitives.ReadUInt64LittleEndian(symbol[16..]), Encoding.UTF8.GetString(text[..end])));
        }
    }

    private static byte[] ReadSection(PageCache file, ReadOnlySpan<byte> section)
    {
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(section[24..]), size = BinaryPrimitives.ReadUInt64LittleEndian(section[32..]);
        if (offset >= file.Size || size > MaxTable)
            return [];
        byte[] bytes = new byte[Math.Min(size, file.Size - offset)];
        return file.Read(offset, bytes, task: null) == bytes.Length ? bytes : [];
    }

    /// <summary>The symbol that covers an address of the file (load bias subtracted): its name and how far behind its start.</summary>
    public (string Name, ulong Offset)? Find(ulong address)
    {
        int index = Array.BinarySearch(_addresses, address);
        if (index < 0)
            index = ~index - 1;
        else
            while (index + 1 < _addresses.Length && _addresses[index + 1] == address)
                index++;
        if (index < 0)
            return null;
        ulong offset = address - _addresses[index];
        ulong size = _symbols[index].Size;
        return size != 0 && offset >= size ? null : (_symbols[index].Name, offset);
    }
}

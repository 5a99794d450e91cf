using System.Buffers.Binary;
using System.Text;
using Iced.Intel;

namespace Emulator.Kernel.Loader;

/// <summary>
/// Builds the shared object that is mapped into every program as its vDSO: an ELF file with a dynamic symbol table, hash table and the
/// version LINUX_2.6, as C libraries look functions up in it (Documentation/ABI/stable/vdso). What the functions do is in <see cref="VdsoCode"/>.
/// </summary>
internal static class VdsoImage
{
    private const string LibraryName = "linux-vdso.so.1", VersionName = "LINUX_2.6";
    private const int SymbolSize = 24, HeaderSize = 64, SegmentSize = 56, SegmentCount = 2, CodeOffset = 0x800;
    private const int SectionSize = 64, SectionCount = 4, SectionsOffset = 4096 - SectionCount * SectionSize, TextSection = 1;
    private const ushort BaseVersion = 1, FunctionVersion = 2;

    /// <summary>The image, one page.</summary>
    public static byte[] Build(long realtimeOffsetNs)
    {
        (byte[] code, int[] offsets) = Assemble(realtimeOffsetNs);
        byte[] image = new byte[4096];
        code.CopyTo(image, CodeOffset);

        // Every function has two names: its own with the prefix, and the plain one, as Linux's has.
        var names = new List<(string Name, int Offset)>();
        for (int i = 0; i < offsets.Length; i++)
        {
            string name = VdsoCode.Functions[i].Name;
            names.Add(("__vdso_" + name, offsets[i]));
            names.Add((name, offsets[i]));
        }
        var strings = new MemoryStream();
        int AddString(string text)
        {
            int at = (int)strings.Length;
            strings.Write(Encoding.ASCII.GetBytes(text + "\0"));
            return at;
        }
        AddString("");
        int library = AddString(LibraryName), version = AddString(VersionName);
        int[] nameOffsets = new int[names.Count];
        for (int i = 0; i < nameOffsets.Length; i++)
            nameOffsets[i] = AddString(names[i].Name);

        int symbolCount = names.Count + 1;
        int position = HeaderSize + SegmentCount * SegmentSize;
        int Take(int size, int alignment)
        {
            int at = (position + alignment - 1) & -alignment;
            position = at + size;
            return at;
        }
        int dynamic = Take(11 * 16, 8), symbols = Take(symbolCount * SymbolSize, 8), hash = Take((3 + symbolCount) * 4, 4);
        int versions = Take(symbolCount * 2, 2), definitions = Take(2 * 28, 4), stringTable = Take((int)strings.Length, 1);
        if (position > CodeOffset)
            throw new InvalidOperationException("The vDSO's tables have outgrown their place.");

        if (CodeOffset + code.Length > SectionsOffset)
            throw new InvalidOperationException("The vDSO's functions have outgrown their place.");

        WriteHeaders(image, dynamic);
        PutSection(image, TextSection, type: 1, flags: 6, CodeOffset, code.Length, 0);
        PutSection(image, 2, type: 11, flags: 2, symbols, symbolCount * SymbolSize, SymbolSize); // SHT_DYNSYM
        PutSection(image, 3, type: 3, flags: 2, stringTable, (int)strings.Length, 0); // SHT_STRTAB
        strings.ToArray().CopyTo(image, stringTable);
        WriteSymbols(image.AsSpan(symbols), names, nameOffsets);
        WriteHash(image.AsSpan(hash), symbolCount);
        for (int i = 1; i < symbolCount; i++)
            Put16(image, versions + i * 2, FunctionVersion);
        WriteDefinition(image.AsSpan(definitions), flags: 1, BaseVersion, LibraryName, library, next: 28);
        WriteDefinition(image.AsSpan(definitions + 28), flags: 0, FunctionVersion, VersionName, version, next: 0);
        WriteDynamic(image.AsSpan(dynamic),
        [
            (14, library), (4, hash), (5, stringTable), (6, symbols), (10, strings.Length), (11, SymbolSize),
            (0x6FFF_FFF0, versions), (0x6FFF_FFFC, definitions), (0x6FFF_FFFD, 2),
        ]);
        return image;
    }

    private static (byte[] Code, int[] Offsets) Assemble(long realtimeOffsetNs)
    {
        using var stream = new MemoryStream();
        int[] offsets = new int[VdsoCode.Functions.Count];
        for (int i = 0; i < offsets.Length; i++)
        {
            var assembler = new Assembler(64);
            VdsoCode.Functions[i].Emit(assembler, realtimeOffsetNs);
            stream.SetLength((stream.Length + 15) & ~15);
            stream.Position = stream.Length;
            offsets[i] = CodeOffset + (int)stream.Length;
            assembler.Assemble(new StreamCodeWriter(stream), (ulong)offsets[i]);
        }
        return (stream.ToArray(), offsets);
    }

    private static void WriteHeaders(byte[] image, int dynamic)
    {
        // e_ident: 64-bit, little-endian, version 1.
        ReadOnlySpan<byte> ident = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        ident.CopyTo(image);
        Put16(image, 16, 3); // ET_DYN
        Put16(image, 18, 62); // EM_X86_64
        Put32(image, 20, 1);
        Put64(image, 32, HeaderSize);
        Put64(image, 40, SectionsOffset);
        Put16(image, 52, HeaderSize);
        Put16(image, 54, SegmentSize);
        Put16(image, 56, SegmentCount);
        Put16(image, 58, SectionSize);
        Put16(image, 60, SectionCount);
        PutSegment(image, HeaderSize, type: 1, flags: 5, 0, image.Length, 4096); // PT_LOAD, readable and executable
        PutSegment(image, HeaderSize + SegmentSize, type: 2, flags: 4, dynamic, 11 * 16, 8); // PT_DYNAMIC
    }

    private static void PutSegment(byte[] image, int at, uint type, uint flags, int offset, int size, int alignment)
    {
        Put32(image, at, type);
        Put32(image, at + 4, flags);
        Put64(image, at + 8, (ulong)offset);
        Put64(image, at + 16, (ulong)offset);
        Put64(image, at + 24, (ulong)offset);
        Put64(image, at + 32, (ulong)size);
        Put64(image, at + 40, (ulong)size);
        Put64(image, at + 48, (ulong)alignment);
    }

    /// <summary>Sections as well as segments: dietlibc's vdso_dlsym finds symbols, and their addresses, through the section headers alone.</summary>
    private static void PutSection(byte[] image, int index, uint type, uint flags, int offset, int size, int entrySize)
    {
        int at = SectionsOffset + index * SectionSize;
        Put32(image, at + 4, type);
        Put64(image, at + 8, flags);
        Put64(image, at + 16, (ulong)offset);
        Put64(image, at + 24, (ulong)offset);
        Put64(image, at + 32, (ulong)size);
        Put64(image, at + 48, 1);
        Put64(image, at + 56, (ulong)entrySize);
    }

    private static void WriteSymbols(Span<byte> table, List<(string Name, int Offset)> names, int[] nameOffsets)
    {
        for (int i = 0; i < names.Count; i++)
        {
            Span<byte> symbol = table.Slice((i + 1) * SymbolSize, SymbolSize);
            Put32(symbol, 0, (uint)nameOffsets[i]);
            // Global for the prefixed name, weak for the plain one; both are functions.
            symbol[4] = (byte)((i % 2 == 0 ? 1 : 2) << 4 | 2);
            Put16(symbol, 6, TextSection);
            Put64(symbol, 8, (ulong)names[i].Offset);
            Put64(symbol, 16, 8);
        }
    }

    /// <summary>A hash table with a single bucket: a chain of all symbols serves every look-up, whatever the hash.</summary>
    private static void WriteHash(Span<byte> table, int symbolCount)
    {
        Put32(table, 0, 1);
        Put32(table, 4, (uint)symbolCount);
        Put32(table, 8, 1);
        for (int i = 1; i < symbolCount - 1; i++)
            Put32(table, 12 + i * 4, (uint)i + 1);
    }

    private static void WriteDefinition(Span<byte> at, ushort flags, ushort index, string name, int nameOffset, uint next)
    {
        Put16(at, 0, 1);
        Put16(at, 2, flags);
        Put16(at, 4, index);
        Put16(at, 6, 1);
        Put32(at, 8, Hash(name));
        Put32(at, 12, 20);
        Put32(at, 16, next);
        Put32(at, 20, (uint)nameOffset);
    }

    private static void WriteDynamic(Span<byte> at, ReadOnlySpan<(long Tag, long Value)> entries)
    {
        for (int i = 0; i < entries.Length; i++)
        {
            Put64(at, i * 16, (ulong)entries[i].Tag);
            Put64(at, i * 16 + 8, (ulong)entries[i].Value);
        }
    }

    /// <summary>The hash of the System V ABI, chapter 5.</summary>
    private static uint Hash(string name)
    {
        uint h = 0;
        foreach (char c in name)
        {
            h = (h << 4) + c;
            uint top = h & 0xF000_0000;
            h = (h ^ (top >> 24)) & ~top;
        }
        return h;
    }

    private static void Put16(Span<byte> at, int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(at[offset..], value);

    private static void Put32(Span<byte> at, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(at[offset..], value);

    private static void Put64(Span<byte> at, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(at[offset..], value);
}

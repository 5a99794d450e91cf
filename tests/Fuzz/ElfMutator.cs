using System.Buffers.Binary;
using System.Text;
using Emulator.Tests.Guests;
using Emulator.Tests.Loader;

namespace Emulator.Tests.Fuzz;

/// <summary>Program files with something wrong: header fields, program headers, section headers, interpreters, bytes anywhere, and ends that come early.</summary>
internal static class ElfMutator
{
    private static readonly ulong[] Edges =
    [
        0, 1, 2, 3, 7, 0x38, 0x40, 0xFF, 0x100, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0xFFFF, 0x1_0000, 0x20_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, 0x7FFF_FFFF_E000,
        0x7FFF_FFFF_F000, 0x8000_0000_0000, 0x7FFF_FFFF_FFFF_F000, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_F000, 0xFFFF_FFFF_FFFF_FFFF,
    ];

    /// <summary>Programs of the repository, one of a compiler with an interpreter if the host has it, and one whose interpreter is there.</summary>
    public static IReadOnlyList<byte[]> Originals { get; } =
    [
        ProgramBuilder.Static(), WithInterpreter("/ro/file"), WithInterpreter("/lib/interpreter"),
        .. ((string[])["hello", "crash", "echo", "faults"]).Select(static name => File.ReadAllBytes(GuestPrograms.Guest(name).Program)),
        .. NativeHost.Find("true") is { } dynamic ? new[] { File.ReadAllBytes(dynamic) } : [],
    ];

    public static byte[] Next(Random random)
    {
        byte[] image = [.. Originals[random.Next(Originals.Count)]];
        for (int changes = random.Next(1, 6); changes > 0; changes--)
            image = Change(image, random);
        return image;
    }

    private static byte[] Change(byte[] image, Random random)
    {
        const int Header = 64, Segment = 56;
        if (image.Length < Header + 8 * Segment)
            return image;
        switch (random.Next(8))
        {
            case 0:
                Put(image, random.Next(16, Header), random);
                break;
            case 1 or 2 or 3:
                int field = random.Next(8);
                Put(image, Header + random.Next(8) * Segment + (field < 2 ? field * 4 : field * 8 - 8), random);
                break;
            case 4:
                for (int i = random.Next(1, 20); i > 0; i--)
                    image[random.Next(image.Length)] ^= (byte)(1 << random.Next(8));
                break;
            case 5:
                int sections = (int)Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(image.AsSpan(40)), (ulong)image.Length - 64);
                Put(image, Math.Min(sections + random.Next(20 * Header), image.Length - 8), random);
                break;
            case 6:
                return image[..random.Next(1, image.Length)];
            default:
                int from = Header + random.Next(8) * Segment, to = Header + random.Next(8) * Segment;
                image.AsSpan(from, Segment).ToArray().CopyTo(image, to);
                image[56] = (byte)random.Next(12);
                break;
        }
        return image;
    }

    private static void Put(byte[] image, int at, Random random)
    {
        ulong value = random.Next(3) == 0 ? (ulong)random.NextInt64() : Edges[random.Next(Edges.Length)];
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        int width = Math.Min(1 << random.Next(4), image.Length - at);
        bytes[..width].CopyTo(image.AsSpan(at));
    }

    private static byte[] WithInterpreter(string path)
    {
        const uint Interpreter = 3;
        byte[] image = ProgramBuilder.Static();
        ProgramBuilder.Put16(image, 16, 3);
        ProgramBuilder.Put64(image, 24, 0x800);
        ProgramBuilder.Put16(image, 56, 2);
        ProgramBuilder.PutSegment(image, 0, type: 1, flags: 7, 0, 0, 0x1000, 0x3000);
        ProgramBuilder.PutSegment(image, 1, Interpreter, flags: 4, 0x400, 0x400, (ulong)path.Length + 1, (ulong)path.Length + 1);
        Encoding.ASCII.GetBytes(path).CopyTo(image, 0x400);
        return image;
    }
}

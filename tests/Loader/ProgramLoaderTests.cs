using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Memory;
using Emulator.Tests.Mm;

namespace Emulator.Tests.Loader;

public sealed class ProgramLoaderTests
{
    private static byte[] Hello => File.ReadAllBytes(System.IO.Path.Combine(Guests.GuestPrograms.Built, "hello.elf"));

    [Test]
    public void A_program_gets_its_segments_a_heap_and_a_stack_with_arguments_and_auxiliary_vector()
    {
        using var stand = new MemoryStand();
        LoadedProgram program = ProgramBuilder.Load(stand, ProgramBuilder.Static(), out _, ["one", "two words"])!;
        Kernel.Memory.Mm mm = program.Mm;
        Assert.That(program.EntryPoint, Is.EqualTo(ProgramBuilder.Base + 0x800));
        Assert.That(program.Name, Is.EqualTo("program"));
        Assert.That(program.StackPointer & 15, Is.Zero);
        Assert.That(mm.StartBrk, Is.EqualTo(ProgramBuilder.Base + 0x3000));

        ulong at = program.StackPointer;
        Assert.That(Word(mm, at), Is.EqualTo(2), "argc");
        Assert.That(Text(mm, Word(mm, at + 8)), Is.EqualTo("one"));
        Assert.That(Text(mm, Word(mm, at + 16)), Is.EqualTo("two words"));
        Assert.That(Word(mm, at + 24), Is.Zero);
        Assert.That(Text(mm, Word(mm, at + 32)), Is.EqualTo("HOME=/"));
        Assert.That(Word(mm, at + 40), Is.Zero);

        var auxiliary = new Dictionary<ulong, ulong>();
        for (at += 48; Word(mm, at) != 0; at += 16)
            auxiliary.Add(Word(mm, at), Word(mm, at + 8));
        Assert.That(auxiliary[3], Is.EqualTo(ProgramBuilder.Base + 64), "AT_PHDR");
        Assert.That(auxiliary[6], Is.EqualTo(4096), "AT_PAGESZ");
        Assert.That(auxiliary[9], Is.EqualTo(program.EntryPoint), "AT_ENTRY");
        Assert.That(Text(mm, auxiliary[31]), Is.EqualTo("/bin/program"), "AT_EXECFN");
        Assert.That(Text(mm, auxiliary[15]), Is.EqualTo("x86_64"), "AT_PLATFORM");
        Assert.That(auxiliary[33], Is.EqualTo(mm.VdsoBase), "AT_SYSINFO_EHDR");
        Assert.That(auxiliary, Does.Not.ContainKey(27UL).And.Not.ContainKey(28UL), "rseq is refused");
        mm.Put(null);
    }

    [Test]
    public void A_script_runs_its_interpreter_with_the_argument_and_its_own_path()
    {
        using var stand = new MemoryStand();
        byte[] script = "#! /bin/interpreter  -x  y \nrest"u8.ToArray();
        var files = new Dictionary<string, byte[]>(StringComparer.Ordinal) { ["/bin/interpreter"] = ProgramBuilder.Static() };
        LoadedProgram program = ProgramBuilder.Load(stand, script, out _, ["ignored", "argument"], files)!;
        ulong[] pointers = [.. Enumerable.Range(1, 4).Select(i => Word(program.Mm, program.StackPointer + (ulong)i * 8))];
        Assert.That(string.Join('|', pointers.Select(p => Text(program.Mm, p))), Is.EqualTo("/bin/interpreter|-x  y|/bin/program|argument"));
        program.Mm.Put(null);
    }

    [Test]
    public void A_script_that_is_its_own_interpreter_ends_in_ELOOP()
    {
        using var stand = new MemoryStand();
        byte[] script = "#!/loop\n"u8.ToArray();
        Assert.That(ProgramBuilder.Load(stand, script, out LoadError? error, files: new(StringComparer.Ordinal) { ["/loop"] = script }), Is.Null);
        Assert.That(error!.Errno, Is.EqualTo(Errno.ELOOP));
    }

    private static readonly TestCaseData[] Broken =
    [
        Case("is empty", Errno.ENOEXEC, static _ => []),
        Case("is not an ELF program", Errno.ENOEXEC, static _ => "hello, world"u8.ToArray()),
        Case("32-bit", Errno.ENOEXEC, static i => With(i, 4, 1)),
        Case("another processor (ELF machine 183)", Errno.ENOEXEC, static i => With(i, 18, 183)),
        Case("no program", Errno.ENOEXEC, static i => With(i, 16, 1)),
        Case("header is incomplete", Errno.ENOEXEC, static i => i[..40]),
        Case("program headers lie beyond", Errno.ENOEXEC, static i => i[..100]),
        Case("a segment lies beyond", Errno.ENOEXEC, static i => i[..0x900]),
        Case("no program headers", Errno.ENOEXEC, static i => With(i, 56, 0)),
        Case("no segment to load", Errno.ENOEXEC, static i => With(i, 64, 6)),
        Case("malformed program headers", Errno.ENOEXEC, static i => With(i, 54, 55)),
        Case("larger in the file than in memory", Errno.ENOEXEC, static i => Word(i, 64 + 40, 1)),
        Case("outside the user's address space", Errno.ENOEXEC, static i => Word(i, 64 + 16, 0xFFFF_8000_0000_0000)),
        Case("outside the user's address space", Errno.ENOEXEC, static i => Word(i, 64 + 40, ulong.MaxValue)),
        Case("do not fit together", Errno.ENOEXEC, static i => Word(i, 64 + 16, 0x40_0010)),
        Case("below the lowest address", Errno.EPERM, static i => Word(i, 64 + 16, 0x1000)),
        Case("cannot be mapped", Errno.ENOMEM, static i => Word(i, 64 + 40, 1UL << 45)),
        Case("needs the interpreter /lib/none, which cannot be opened", Errno.ENOENT, static i => Interpreted(i, "/lib/none\0")),
        Case("needs the interpreter /lib/text, which is not an ELF program", Errno.ELIBBAD, static i => Interpreted(i, "/lib/text\0")),
        Case("malformed interpreter name", Errno.ENOEXEC, static i => Interpreted(i, "/lib/text")),
    ];

    private static TestCaseData Case(string message, int errno, Func<byte[], byte[]> change) => new TestCaseData(message, errno, change).SetArgDisplayNames(message);

    private static byte[] With(byte[] image, int at, ushort value)
    {
        if (at == 4)
            image[4] = (byte)value;
        else
            ProgramBuilder.Put16(image, at, value);
        return image;
    }

    private static byte[] Word(byte[] image, int at, ulong value)
    {
        ProgramBuilder.Put64(image, at, value);
        return image;
    }

    private static byte[] Interpreted(byte[] image, string name)
    {
        ProgramBuilder.Put16(image, 56, 2);
        ProgramBuilder.PutSegment(image, 1, type: 3, flags: 4, 0x700, 0, (ulong)name.Length, (ulong)name.Length);
        Encoding.ASCII.GetBytes(name).CopyTo(image, 0x700);
        return image;
    }

    [TestCaseSource(nameof(Broken))]
    public void A_broken_program_is_refused_with_a_sentence(string message, int errno, Func<byte[], byte[]> change)
    {
        using var stand = new MemoryStand();
        var files = new Dictionary<string, byte[]>(StringComparer.Ordinal) { ["/lib/text"] = "text file"u8.ToArray() };
        Assert.That(ProgramBuilder.Load(stand, change(ProgramBuilder.Static()), out LoadError? error, files: files), Is.Null);
        Assert.That(error!.Message, Does.Contain(message));
        Assert.That(error.Errno, Is.EqualTo(errno));
    }

    [Test]
    public void A_program_cut_off_at_any_byte_is_refused_or_loads_and_leaves_nothing_behind()
    {
        byte[] image = Hello;
        using var stand = new MemoryStand();
        LoadOnce(stand, image);
        long frames = stand.Pages.UsedFrames;
        for (int length = 0; length < image.Length; length++)
            LoadOnce(stand, image[..length]);
        Assert.That(stand.Pages.UsedFrames, Is.EqualTo(frames));
    }

    [Test]
    public void Flipped_bytes_never_make_the_loader_fail_in_another_way()
    {
        byte[] image = Hello;
        using var stand = new MemoryStand();
        LoadOnce(stand, image);
        long frames = stand.Pages.UsedFrames;
        ulong state = 0x9E37_79B9_7F4A_7C15;
        ulong Next()
        {
            state ^= state << 13;
            state ^= state >> 7;
            return state ^= state << 17;
        }
        for (int i = 0; i < 5000; i++)
        {
            byte[] changed = (byte[])image.Clone();
            // The headers are where it matters.
            for (int flips = 1 + (int)(Next() % 4); flips > 0; flips--)
                changed[Next() % 8 == 0 ? Next() % (ulong)changed.Length : Next() % 0x200] = (byte)Next();
            LoadOnce(stand, changed);
        }
        Assert.That(stand.Pages.UsedFrames, Is.EqualTo(frames));
    }

    private static void LoadOnce(MemoryStand stand, byte[] image)
    {
        LoadedProgram? program = ProgramBuilder.Load(stand, image, out LoadError? error);
        Assert.That(program is null, Is.EqualTo(error is not null));
        program?.Mm.Put(null);
        var cache = new ShmemPageCache(stand.Pages);
        cache.Write(0, image, task: null);
        SymbolTable.Read(cache).Find(0x401000);
        cache.Free();
    }

    [Test]
    public void Symbols_are_found_by_address()
    {
        using var stand = new MemoryStand();
        var cache = new ShmemPageCache(stand.Pages);
        cache.Write(0, Hello, task: null);
        SymbolTable table = SymbolTable.Read(cache);
        ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(Hello.AsSpan(24));
        Assert.That(table.Find(entry)?.Name, Is.EqualTo("_start"));
        Assert.That(table.Find(entry + 1), Is.EqualTo(("_start", 1UL)));
        Assert.That(table.Find(1), Is.Null);
        cache.Free();
    }

    private static ulong Word(Kernel.Memory.Mm mm, ulong address)
    {
        byte[] bytes = new byte[8];
        Assert.That(mm.ReadMemory(null, address, bytes), Is.EqualTo(8));
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    private static string Text(Kernel.Memory.Mm mm, ulong address)
    {
        byte[] bytes = new byte[64];
        int length = mm.ReadMemory(null, address, bytes);
        return Encoding.UTF8.GetString(bytes, 0, bytes.AsSpan(0, length).IndexOf((byte)0));
    }
}

using System.Buffers.Binary;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Loader;

/// <summary>A new program's stack: strings, random bytes, auxiliary vector, environment, arguments (fs/binfmt_elf.c:create_elf_tables).</summary>
internal sealed class StackSetup(ExecRequest request, Mm mm, IReadOnlyList<byte[]> arguments)
{
    /// <summary>The stack's size before it grows (setup_arg_pages, stack_expand).</summary>
    private const ulong InitialSize = 132 << 10;

    /// <summary>MAX_ARG_STRLEN.</summary>
    private const int MaxString = 128 << 10;

    private const ulong MinGap = 128 << 20, MaxGap = Layout.TaskSize / 6 * 5;

    // Tags of the auxiliary vector (include/uapi/linux/auxvec.h).
    private const ulong AT_NULL = 0, AT_PHDR = 3, AT_PHENT = 4, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_FLAGS = 8, AT_ENTRY = 9,
        AT_UID = 11, AT_EUID = 12, AT_GID = 13, AT_EGID = 14, AT_PLATFORM = 15, AT_HWCAP = 16, AT_CLKTCK = 17, AT_SECURE = 23,
        AT_RANDOM = 25, AT_HWCAP2 = 26, AT_EXECFN = 31, AT_SYSINFO_EHDR = 33, AT_MINSIGSTKSZ = 51;

    /// <summary>The largest signal frame (init_sigframe_size): extended state, its alignment, siginfo and ucontext.</summary>
    private const ulong MinSignalStack = 944 + ExtendedState.Size;

    private readonly List<ulong> _auxiliary = [];

    public static ulong Limit(Task? task) => task?.Process.Limits[ResourceLimits.STACK].Current ?? 8 << 20;

    /// <summary>mmap_base: below the largest extent of the stack.</summary>
    public static ulong MmapBase(ulong stackLimit)
    {
        ulong gap = stackLimit > MaxGap ? MaxGap : stackLimit + Layout.StackGuardGap;
        return (Layout.StackTop - Math.Clamp(gap, MinGap, MaxGap)) & ~0xFFFUL;
    }

    public bool TryBuild(ElfImage image, ulong bias, ulong interpreterBase, ulong stackLimit, out ulong stackPointer, out LoadError? error)
    {
        stackPointer = 0;
        ulong bytes = (ulong)(arguments.Count + request.Environment.Count) * 8;
        bool tooLong = !AddLengths(arguments, ref bytes) || !AddLengths(request.Environment, ref bytes);
        // bprm_stack_limits: a quarter of the stack, at least ARG_MAX, at most three quarters of 8 MiB.
        if (tooLong || bytes > Math.Max(Math.Min(stackLimit / 4, 6 << 20), MaxString))
        {
            error = new LoadError(Errno.E2BIG, "has too long a list of arguments and environment");
            return false;
        }
        ulong size = Math.Max(InitialSize, Layout.PageAlign(bytes + 16384));
        int prot = PROT_READ | PROT_WRITE | (image.ExecutableStack ? PROT_EXEC : 0);
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE;
        long mapped = mm.Mmap(request.Task, Layout.StackTop - size, size, prot, flags, null, 0);
        if (mapped < 0)
        {
            error = new LoadError((int)-mapped, "leaves no room for a stack");
            return false;
        }
        byte[] top = Compose(image, bias, interpreterBase, out stackPointer);
        mm.StartStack = stackPointer;
        bool written = mm.WriteMemory(request.Task, stackPointer, top) == top.Length;
        error = written ? null : new LoadError(Errno.ENOMEM, "does not fit: the machine's memory is exhausted");
        return written;
    }

    private static bool AddLengths(IReadOnlyList<byte[]> texts, ref ulong bytes)
    {
        foreach (byte[] text in texts)
        {
            if (text.Length >= MaxString)
                return false;
            bytes += (ulong)text.Length + 1;
        }
        return true;
    }

    /// <summary>Everything from the stack pointer to the top of the stack.</summary>
    private byte[] Compose(ElfImage image, ulong bias, ulong interpreterBase, out ulong stackPointer)
    {
        // Strings, from the top: a zero word, the path, the environment, the arguments.
        ulong at = Layout.StackTop - 8;
        var placed = new List<(ulong Address, byte[] Text)>();
        ulong Place(byte[] text)
        {
            at -= (ulong)text.Length + 1;
            placed.Add((at, text));
            return at;
        }
        ulong executable = Place(request.Path);
        mm.EnvEnd = at;
        ulong[] environment = PlaceAll(request.Environment, Place);
        mm.EnvStart = mm.ArgEnd = at;
        ulong[] argument = PlaceAll(arguments, Place);
        mm.ArgStart = at;
        at &= ~0xFUL;
        ulong platform = Place("x86_64"u8.ToArray());
        at = (at - (ulong)request.Random.Length) & ~0xFUL;
        ulong random = at;
        placed.Add((random, request.Random));

        ComposeAuxiliary(image, bias, interpreterBase, platform, random, executable);
        ulong words = 1 + (ulong)argument.Length + 1 + (ulong)environment.Length + 1 + (ulong)_auxiliary.Count;
        stackPointer = (at - words * 8) & ~0xFUL;

        byte[] top = new byte[Layout.StackTop - stackPointer]; // TryBuild has refused more than 6 MiB of strings and pointers.
        foreach ((ulong address, byte[] text) in placed)
            text.CopyTo(top, (int)(address - stackPointer));
        int offset = 0;
        void Word(ulong value)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(top.AsSpan(offset), value);
            offset += 8;
        }
        Word((ulong)argument.Length);
        foreach (ulong pointer in argument)
            Word(pointer);
        Word(0);
        foreach (ulong pointer in environment)
            Word(pointer);
        Word(0);
        int auxiliary = offset;
        foreach (ulong word in _auxiliary)
            Word(word);
        mm.AuxiliaryVector = top[auxiliary..offset];
        return top;
    }

    private static ulong[] PlaceAll(IReadOnlyList<byte[]> texts, Func<byte[], ulong> place)
    {
        ulong[] addresses = new ulong[texts.Count];
        for (int i = texts.Count - 1; i >= 0; i--)
            addresses[i] = place(texts[i]);
        return addresses;
    }

    private void ComposeAuxiliary(ElfImage image, ulong bias, ulong interpreterBase, ulong platform, ulong random, ulong executable)
    {
        void Entry(ulong tag, ulong value)
        {
            _auxiliary.Add(tag);
            _auxiliary.Add(value);
        }
        if (mm.VdsoBase != 0)
            Entry(AT_SYSINFO_EHDR, mm.VdsoBase);
        Entry(AT_MINSIGSTKSZ, MinSignalStack);
        Entry(AT_HWCAP, request.HardwareCapabilities);
        Entry(AT_PAGESZ, 4096);
        Entry(AT_CLKTCK, 100);
        Entry(AT_PHDR, HeadersAddress(image) + bias);
        Entry(AT_PHENT, ElfImage.SegmentSize);
        Entry(AT_PHNUM, (ulong)image.Segments.Length);
        Entry(AT_BASE, interpreterBase);
        Entry(AT_FLAGS, 0);
        Entry(AT_ENTRY, image.Entry + bias);
        Entry(AT_UID, request.UserId);
        Entry(AT_EUID, request.UserId);
        Entry(AT_GID, request.GroupId);
        Entry(AT_EGID, request.GroupId);
        Entry(AT_SECURE, 0);
        Entry(AT_RANDOM, random);
        Entry(AT_HWCAP2, 0);
        Entry(AT_EXECFN, executable);
        Entry(AT_PLATFORM, platform);
        Entry(AT_NULL, 0);
    }

    /// <summary>Where the program headers are in memory: what PT_PHDR says, else inside the segment that covers them.</summary>
    private static ulong HeadersAddress(ElfImage image)
    {
        foreach (ElfSegment segment in image.Segments)
        {
            if (segment.Type == ElfSegment.ProgramHeaders)
                return segment.Address;
        }
        foreach (ElfSegment segment in image.Segments)
        {
            if (segment.Type == ElfSegment.Load && image.HeadersOffset >= segment.Offset
                && image.HeadersOffset - segment.Offset < segment.FileSize)
                return image.HeadersOffset - segment.Offset + segment.Address;
        }
        return 0;
    }
}

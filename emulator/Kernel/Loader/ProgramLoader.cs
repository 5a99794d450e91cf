using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Loader;

/// <summary>Opens a guest path for execution: the file, or null and a positive errno.</summary>
public delegate OpenFile? OpenExecutable(byte[] path, out int errno);

/// <summary>What is to be run.</summary>
public sealed record ExecRequest
{
    public required MemorySystem System { get; init; }

    /// <summary>The caller of execve, whose limits count; null for a machine's first program.</summary>
    public Task? Task { get; init; }

    /// <summary>The program, open. The caller keeps its reference.</summary>
    public required OpenFile File { get; init; }

    /// <summary>The path it was called by: AT_EXECFN, and for a script its interpreter's argument.</summary>
    public required byte[] Path { get; init; }

    public required IReadOnlyList<byte[]> Arguments { get; init; }

    public required IReadOnlyList<byte[]> Environment { get; init; }

    /// <summary>Opens interpreters in the guest's file system.</summary>
    public required OpenExecutable Open { get; init; }

    /// <summary>The 16 bytes of AT_RANDOM.</summary>
    public required byte[] Random { get; init; }

    /// <summary>AT_HWCAP: EDX of CPUID leaf 1.</summary>
    public uint HardwareCapabilities { get; init; }

    public uint UserId { get; init; }

    public uint GroupId { get; init; }
}

/// <summary>A program in a new address space, ready to run.</summary>
/// <param name="Mm">The address space, with one user: the caller's.</param>
/// <param name="EntryPoint">RIP.</param>
/// <param name="StackPointer">RSP, 16-byte aligned, at argc.</param>
/// <param name="Name">The task's name: the last part of the path, at most 15 bytes.</param>
public sealed record LoadedProgram(Mm Mm, ulong EntryPoint, ulong StackPointer, string Name);

/// <summary>
/// Makes an address space from a program file: ELF with or without interpreter, or a script (fs/exec.c, fs/binfmt_elf.c,
/// fs/binfmt_script.c). The new space is complete before the old one is given up, so a failure always leaves the caller running.
/// </summary>
public static class ProgramLoader
{
    /// <summary>Interpreters of interpreters of scripts (exec_binprm).</summary>
    private const int MaxScriptDepth = 5;

    private const int ScriptLineLength = 256;

    /// <summary>Loads; null with the reason.</summary>
    public static LoadedProgram? Load(ExecRequest request, out LoadError? error)
    {
        OpenFile file = request.File.Get();
        IReadOnlyList<byte[]> arguments = request.Arguments;
        byte[] path = request.Path;
        try
        {
            for (int depth = 0; ; depth++)
            {
                if (file.Mapping is not { } cache)
                {
                    error = new LoadError(Errno.EACCES, "is not a regular file");
                    return null;
                }
                if (!IsScript(cache, request.Task, out byte[]? interpreter, out byte[]? argument, out error))
                    return error is null ? LoadElf(request, file, cache, arguments, out error) : null;
                if (depth == MaxScriptDepth)
                {
                    error = new LoadError(Errno.ELOOP, "is a script whose interpreters are scripts, too many of them");
                    return null;
                }
                List<byte[]> shifted = [interpreter!];
                if (argument is not null)
                    shifted.Add(argument);
                shifted.Add(path);
                for (int i = 1; i < arguments.Count; i++)
                    shifted.Add(arguments[i]);
                (arguments, path) = (shifted, interpreter!);
                if (OpenInterpreter(request, file, interpreter!, out error) is not { } next)
                    return null;
                file.Put();
                file = next;
            }
        }
        finally
        {
            file.Put();
        }
    }

    /// <summary>Reads "#! interpreter [argument]" (load_script).</summary>
    private static bool IsScript(PageCache file, Task? task, out byte[]? interpreter, out byte[]? argument, out LoadError? error)
    {
        interpreter = argument = null;
        error = null;
        Span<byte> buffer = stackalloc byte[ScriptLineLength];
        long read = file.Read(0, buffer, task);
        if (read < 2 || buffer[0] != '#' || buffer[1] != '!')
            return false;
        ReadOnlySpan<byte> line = buffer[2..(int)read];
        int end = line.IndexOf((byte)'\n');
        bool whole = end >= 0 || read < ScriptLineLength;
        if (end >= 0)
            line = line[..end];
        line = line.TrimStart(" \t"u8);
        int nameEnd = line.IndexOfAny((byte)' ', (byte)'\t', (byte)0);
        ReadOnlySpan<byte> name = nameEnd < 0 ? line : line[..nameEnd];
        if (name.IsEmpty || (nameEnd < 0 && !whole))
        {
            error = new LoadError(Errno.ENOEXEC, "is a script without a usable interpreter");
            return false;
        }
        interpreter = name.ToArray();
        ReadOnlySpan<byte> rest = nameEnd < 0 ? [] : line[nameEnd..].Trim(" \t"u8);
        int zero = rest.IndexOf((byte)0);
        if (zero >= 0)
            rest = rest[..zero];
        if (!rest.IsEmpty)
            argument = rest.ToArray();
        return true;
    }

    /// <summary>
    /// Opens what a program names as its interpreter: in the guest's file system, and on the host only for a program that was itself
    /// given from there. A guest's own file must not be able to name a host file.
    /// </summary>
    private static OpenFile? OpenInterpreter(ExecRequest request, OpenFile user, byte[] path, out LoadError? error)
    {
        error = null;
        if (request.Open(path, out int errno) is { } file)
            return file;
        string name = Encoding.UTF8.GetString(path);
        if (user is not HostProgramFile || path.Length == 0 || path[0] != '/')
        {
            error = new LoadError(errno, $"needs the interpreter {name}, which cannot be opened");
            return null;
        }
        if (HostProgramFile.Open(request.System.Pages, name, out LoadError? hostError) is { } host)
            return host;
        error = new LoadError(hostError!.Errno, $"needs the interpreter {name}, which {hostError.Message}");
        return null;
    }

    private static LoadedProgram? LoadElf(ExecRequest request, OpenFile file, PageCache cache, IReadOnlyList<byte[]> arguments, out LoadError? error)
    {
        if (ElfImage.Read(cache, request.Task, out error) is not { } image)
            return null;
        OpenFile? interpreterFile = null;
        Mm? mm = null;
        LoadedProgram? program = null;
        try
        {
            ElfImage? interpreter = null;
            if (image.Interpreter is { } name)
            {
                interpreterFile = OpenInterpreter(request, file, name, out error);
                interpreter = interpreterFile is null ? null : ReadInterpreter(interpreterFile, request.Task, name, out error);
                if (interpreter is null)
                    return null;
            }
            mm = Mm.Create(request.System, request.Task);
            if (mm is null)
                error = new LoadError(Errno.ENOMEM, "does not fit: the machine's memory is exhausted");
            else
                program = Build(request, mm, file, image, interpreterFile, interpreter, arguments, out error);
            return program;
        }
        finally
        {
            interpreterFile?.Put();
            if (program is null)
                mm?.Put(request.Task);
        }
    }

    private static ElfImage? ReadInterpreter(OpenFile file, Task? task, byte[] name, out LoadError? error)
    {
        ElfImage? image = null;
        error = new LoadError(Errno.EACCES, "is not a regular file");
        if (file.Mapping is { } cache)
            image = ElfImage.Read(cache, task, out error);
        if (error is not null)
        {
            int errno = error.Errno == Errno.ENOEXEC ? Errno.ELIBBAD : error.Errno;
            error = new LoadError(errno, $"needs the interpreter {Encoding.UTF8.GetString(name)}, which {error.Message}");
        }
        return image;
    }

    private static LoadedProgram? Build(
        ExecRequest request, Mm mm, OpenFile file, ElfImage image, OpenFile? interpreterFile, ElfImage? interpreter,
        IReadOnlyList<byte[]> arguments, out LoadError? error)
    {
        Task? task = request.Task;
        ulong stackLimit = StackSetup.Limit(task);
        mm.MmapBase = StackSetup.MmapBase(stackLimit);
        mm.ExecutableFile = file.Get();
        ulong? place = interpreter is null ? null : Layout.DynBase;
        if (!ElfMapper.TryMap(mm, task, file, image, place, out ulong bias, out error))
            return null;
        ulong entry = bias + image.Entry, interpreterBase = 0;
        if (interpreter is not null)
        {
            if (!ElfMapper.TryMap(mm, task, interpreterFile!, interpreter, null, out interpreterBase, out error))
                return null;
            entry = interpreterBase + interpreter.Entry;
        }
        ElfMapper.SetBounds(mm, image, bias);
        // A program without interpreter lies among the mappings; its heap gets a place of its own (load_elf_binary).
        if (image.IsPositionIndependent && interpreter is null)
            mm.StartBrk = mm.CurrentBrk = Layout.DynBase;
        request.System.Vdso.Map(mm, task);

        var stack = new StackSetup(request, mm, arguments);
        return stack.TryBuild(image, bias, interpreterBase, stackLimit, out ulong stackPointer, out error)
            ? new LoadedProgram(mm, entry, stackPointer, NameOf(request.Path))
            : null;
    }

    private static string NameOf(byte[] path)
    {
        ReadOnlySpan<byte> name = path.AsSpan(path.AsSpan().LastIndexOf((byte)'/') + 1);
        return Encoding.Latin1.GetString(name[..Math.Min(name.Length, 15)]);
    }
}

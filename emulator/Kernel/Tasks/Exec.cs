using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Tasks;

/// <summary>Replacing a task's program (fs/exec.c). The new address space is complete before anything of the old program is given up.</summary>
/// <remarks>In bounds: arguments and environment are counted and limited before they are kept (6 MiB, 128 KiB each), scripts to 5 levels; what a program's headers say is the loader's to judge.</remarks>
internal static unsafe class Exec
{
    /// <summary>AT_HWCAP, EDX of CPUID leaf 1: FPU, TSC, CX8, CMOV, CLFSH, MMX, FXSR, SSE, SSE2 and what comes with them.</summary>
    private const uint HardwareCapabilities = 0x078B_FBFF;

    /// <summary>Loads the machine's first program, a host file that needs no grant.</summary>
    /// <param name="message">What went wrong, in a sentence that begins with the program's name.</param>
    /// <returns>0 or a negative errno.</returns>
    internal static long First(Task task, string hostProgram, IReadOnlyList<byte[]> argv, IReadOnlyList<byte[]> envp, out string? message)
    {
        message = null;
        if (hostProgram.Length == 0)
        {
            message = "'' does not exist: the program's name is empty";
            return -Errno.ENOENT;
        }
        HostProgramFile? file = HostProgramFile.Open(task.Machine.Pages, hostProgram, out LoadError? error, task.Machine.Vfs.ProgramPath(hostProgram));
        LoadedProgram? program = null;
        if (file is not null)
        {
            program = Load(task, file, Encoding.UTF8.GetBytes(hostProgram), argv, envp, out error);
            file.Put();
        }
        if (program is null)
        {
            message = $"{hostProgram} {error!.Message}";
            return -error.Errno;
        }
        Commit(task, program);
        return 0;
    }

    /// <summary>execve of an open file.</summary>
    internal static long Run(Task task, OpenFile file, byte[] path, IReadOnlyList<byte[]> argv, IReadOnlyList<byte[]> envp)
    {
        LoadedProgram? program = Load(task, file, path, argv, envp, out LoadError? error);
        if (program is null)
            return -error!.Errno;
        if (!BecomeOnlyThread(task))
        {
            program.Mm.Put(task);
            return -Errno.EAGAIN;
        }
        Commit(task, program);
        return 0;
    }

    private static LoadedProgram? Load(
        Task task, OpenFile file, byte[] path, IReadOnlyList<byte[]> argv, IReadOnlyList<byte[]> envp, out LoadError? error)
    {
        byte[] random = new byte[16];
        task.Machine.Random.Fill(random);
        return ProgramLoader.Load(
            new ExecRequest
            {
                System = task.Machine.MemorySystem,
                Task = task,
                File = file,
                Path = path,
                Arguments = argv,
                Environment = envp,
                Open = (byte[] name, out int errno) => OpenExecutable(task, name, out errno),
                Random = random,
                HardwareCapabilities = HardwareCapabilities,
                UserId = task.Credentials.Uid,
                GroupId = task.Credentials.Gid,
            },
            out error);
    }

    private static OpenFile? OpenExecutable(Task task, byte[] name, out int errno)
    {
        long result = Open(task, AT_FDCWD, Encoding.Latin1.GetString(name), follow: true, out OpenFile? file);
        errno = (int)-result;
        return file;
    }

    /// <summary>Opens a guest file for execution: a regular file with an execute bit (fs/exec.c:do_open_execat).</summary>
    internal static long Open(Task task, int dirfd, string name, bool follow, out OpenFile? file)
    {
        Vfs vfs = task.Machine.Vfs;
        long result = vfs.Open(task, dirfd, name, O_RDONLY | (follow ? 0 : O_NOFOLLOW), 0, WalkFlags.None, out file);
        if (result < 0)
            return result;
        result = file!.Inode is not { IsRegular: true } ? -Errno.EACCES : vfs.CheckAccess(task, file.Path, X_OK);
        if (result < 0)
        {
            file.Put();
            file = null;
        }
        return result;
    }

    /// <summary>Ends the process's other threads; the caller takes the process's own number (fs/exec.c:de_thread). False: the process is dying.</summary>
    private static bool BecomeOnlyThread(Task task)
    {
        Process process = task.Process;
        lock (process.SignalLock)
        {
            if (process.IsExiting || process.Execing is not null)
                return false;
            if (process.Threads.Count == 1 && task.IsMainThread)
                return true;
            process.Execing = task;
            foreach (Task other in process.Threads)
                if (other != task)
                    other.SignalWakeUp();
        }
        process.ThreadGone.Wait(task, process, static p => p.Threads.Count == 1 || p.IsExiting, interruptible: false);
        lock (process.SignalLock)
        {
            process.Execing = null;
            if (process.IsExiting)
                return false;
        }
        if (!task.IsMainThread)
            task.Machine.Processes.Renumber(task, process.Pid);
        return true;
    }

    private static void Commit(Task task, LoadedProgram program)
    {
        Process process = task.Process;
        task.ReleaseMm();
        task.UseMm(program.Mm);
        lock (process.SignalLock)
        {
            process.Actions = process.Actions.Clone();
            process.Actions.ResetHandlers();
        }
        SignalFrame.ResetAltStack(task);
        process.Timers.DeletePosixTimers();
        if (task.Files.IsShared)
        {
            FdTable shared = task.Files;
            task.Files = shared.Clone();
            shared.Release(task);
        }
        task.Files.CloseOnExec(task);
        task.Registers->Reset();
        task.Registers->Rip = program.EntryPoint;
        task.Registers->Gpr[Hardware.Cpu.VcpuRegisters.Rsp] = program.StackPointer;
        task.KeepRegisters = true;
        task.RestartBlock = null;
        task.SetComm(Encoding.Latin1.GetBytes(program.Name));
        process.ExecutablePath = program.Mm.ExecutableFile?.DisplayName ?? "";
        process.ExitSignal = Signal.SIGCHLD;
        process.HasExeced = true;
        process.Dumpable = 1;
    }
}

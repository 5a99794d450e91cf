using System.Text;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel;

/// <summary>What the machine does for its tasks: the first one, the last words of the dying, and what uname says.</summary>
public sealed partial class Machine
{
    /// <summary>What uname reports: the kernel whose behaviour is followed.</summary>
    public const string SystemName = "Linux", HostName = "emulator", Version = "#1 SMP Emulator", HardwareName = "x86_64";

    /// <inheritdoc cref="KernelProfiles.Release"/>
    public string Release => Options.Profile.Release();

    /// <summary>Each task is a host thread.</summary>
    internal const int MaxTasks = 10_000;

    /// <summary>Distance between two vCPUs' counts, so that they do not share a cache line.</summary>
    private const int CountStride = 8;

    private readonly long[] _syscalls = new long[MachineOptions.MaxVcpus * CountStride];

    /// <summary>System calls made so far.</summary>
    public long SyscallCount
    {
        get
        {
            long sum = 0;
            for (int i = 0; i < _syscalls.Length; i += CountStride)
                sum += Volatile.Read(ref _syscalls[i]);
            return sum;
        }
    }

    /// <summary>Bytes of memory that no frame in use takes.</summary>
    internal ulong FreeMemoryBytes => (Memory.FrameCount - (ulong)Pages.UsedFrames) << 12;

    internal void CountSyscall(int vcpu) => _syscalls[vcpu * CountStride]++;

    private Task CreateFirstTask()
    {
        int pid = Processes.AllocatePid();
        var process = new Process(this, pid, Init) { ProcessGroup = pid, Session = pid, StartNs = Clock.MonotonicNs };
        var task = new Task(this, process, pid);
        process.Threads.Add(task);
        Init.Children.Add(process);
        Processes.Add(process);
        Processes.Add(task);
        return task;
    }

    private void LoadFirst(Task task, string hostProgram, IReadOnlyList<byte[]> argv, IReadOnlyList<byte[]> envp)
    {
        try
        {
            (task.Files, task.Fs) = Vfs.CreateFirst(task);
        }
        catch (MachineOptionsException e)
        {
            End(new ExitStatus(ExitReason.Stopped) { Message = e.Message });
            task.ExitRequested = WaitStatus.Exited(127);
            return;
        }
        long error = Exec.First(task, hostProgram, argv, envp, out string? message);
        if (error == 0)
            return;
        End(new ExitStatus(ExitReason.NotStarted) { Errno = (int)-error, Message = message });
        task.ExitRequested = WaitStatus.Exited(127);
    }

    /// <summary>A process has ended; with the first one ends the machine.</summary>
    internal void OnProcessEnded(Process process)
    {
        if (process != Main)
            return;
        int signal = WaitStatus.Signal(process.WaitStatus);
        End(signal == 0
            ? new ExitStatus(ExitReason.Exited, WaitStatus.ExitCode(process.WaitStatus))
            : new ExitStatus(ExitReason.Signaled, 128 + signal, signal) { Report = process.Death });
    }

    /// <summary>Runs a full fence on every vCPU and waits for all (membarrier).</summary>
    internal void BarrierOnAllVcpus(Task task) => Platform.InterProcessor.Call(task.Vcpu, Platform.AllVcpus, FenceRequest.Instance);

    internal void OnSessionLeaderExit(Task last) => Vfs.OnSessionLeaderExit(last);

    private sealed class FenceRequest : Hardware.Smp.IpiRequest
    {
        public static readonly FenceRequest Instance = new();

        public override void Serve(Hardware.Smp.Vcpu target) => Interlocked.MemoryBarrier();
    }
}

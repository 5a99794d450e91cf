using Emulator.Hardware.Memory;
using Emulator.Hardware;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Host;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel;

/// <summary>
/// One machine: memory, vCPUs, and the kernel on top. There are no statics, so any number of machines may live in one process.
/// A machine runs one program and is then disposed.
/// </summary>
public sealed partial class Machine : IDisposable
{
    private readonly object _ended = new();
    private ExitStatus? _status;

    public Machine(MachineOptions options)
    {
        if (options.Vcpus is < 1 or > MachineOptions.MaxVcpus)
            throw new ArgumentOutOfRangeException(nameof(options), $"a machine has 1 to {MachineOptions.MaxVcpus} vCPUs");
        Options = options;
        Clock = options.Deterministic ? new VirtualClock() : new HostClock();
        HostPoller = new HostPoller(this);
        Timers = new TimerQueue(this);
        HostThreads = new HostThreads();
        Platform = new Platform(new PhysicalMemory(options.MemoryBytes), options.Vcpus, options.Tlb);
        MemorySystem = new MemorySystem(Platform);
        Scheduler = new ParallelScheduler(this);
    }

    public MachineOptions Options { get; }

    /// <summary>The hardware: vCPUs, physical memory.</summary>
    public Platform Platform { get; }

    public PhysicalMemory Memory => Platform.Memory;

    /// <summary>Frames, TLB shootdown and what else the address spaces share.</summary>
    public MemorySystem MemorySystem { get; }

    public PageAllocator Pages => MemorySystem.Pages;

    public Clock Clock { get; }

    public TimerQueue Timers { get; }

    public Scheduler Scheduler { get; }

    public SyscallTable Syscalls { get; } = new();

    public ProcessTable Processes { get; } = new();

    public HostPoller HostPoller { get; }

    internal HostThreads HostThreads { get; }

    /// <summary>Ends the run from outside or from a task, with the first reason given.</summary>
    internal void StopFor(ExitReason reason, string? message = null) => End(new ExitStatus(reason) { Message = message });

    private void End(ExitStatus status)
    {
        lock (_ended)
        {
            _status ??= status;
            Monitor.PulseAll(_ended);
        }
    }

    public void Dispose()
    {
        HostThreads.Stop();
        HostPoller.Dispose();
        MemorySystem.Dispose();
        Platform.Dispose();
    }
}

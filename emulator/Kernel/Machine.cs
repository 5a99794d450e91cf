using Emulator.Hardware;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Host;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Futexes;
using Emulator.Kernel.Tasks.Ipc;
using Emulator.Kernel.Tasks.Locks;
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
        foreach (string assignment in options.Sysctls)
        {
            if (new VmSysctls().TrySet(assignment) is { } wrong)
                throw new ArgumentException($"{assignment}: {wrong}", nameof(options));
        }
        Options = options;
        var virtualClock = options.Deterministic ? new VirtualClock() : null;
        Clock = virtualClock is null ? new HostClock() : virtualClock;
        Random = options.Deterministic ? new RandomSource(options.Seed) : RandomSource.FromHost();
        Platform = new Platform(new PhysicalMemory(options.MemoryBytes), options.Vcpus, options.Tlb, options.Cpu);
        Platform.ReadTimestamp = () => (ulong)Clock.MonotonicNs;
        MemorySystem = new MemorySystem(Platform, options.SwapBytes);
        Pages.CurrentTask = () => CurrentTask;
        MemorySystem.HugePages.Policy = options.TransparentHugePages;
        MemorySystem.HugeTlb.Default.Resize(options.HugePages);
        MemorySystem.Vdso.RealtimeOffsetNs = Clock.RealtimeOffsetNs;
        MemorySystem.Shootdown.NowNs = () => Clock.MonotonicNs;
        MemorySystem.Shootdown.Profile = options.Profile;
        MemorySystem.Shootdown.Ceiling = options.FlushCeiling;
        MemorySystem.Shootdown.SharedPolicy = Shootdown.Policies.SharedFlushPolicies.Find(options);
        LockDep = options.LockDep ? new LockDep(ReportLock) : null;
        MemorySystem.PageLocks.LockDep = LockDep;
        Checker = options.Check ? new Checker.CoherenceChecker(MemorySystem, Platform.Vcpus, Violations.Report) : null;
        foreach (string assignment in options.Sysctls)
            MemorySystem.Sysctls.TrySet(assignment);
        KernelLog = new Tracing.KernelLog(Clock, options.KernelLog);
        OomKiller = new OomKiller(this);
        MemorySystem.Reclaim.OomKiller = OomKiller;
        Disturber = options.Disturbance.Total > 0 ? new Disturber(this, options.Disturbance, options.Seed) : null;
        HostPoller = new HostPoller(this);
        Timers = new TimerQueue(this);
        Dmirrors = new Mirrors.DmirrorDevice[Mirrors.DmirrorDevice.Count];
        for (int i = 0; i < Dmirrors.Length; i++)
            Dmirrors[i] = new Mirrors.DmirrorDevice(this, hasMemory: i < 2);
        DmaBufs = new Mirrors.DmaBufs(this, options.Udmabuf);
        HostThreads = new HostThreads();
        Scheduler = virtualClock is null ? new ParallelScheduler(this) : new DeterministicScheduler(this, virtualClock);
        Init = new Process(this, ProcessTable.InitPid, null) { ProcessGroup = ProcessTable.InitPid, Session = ProcessTable.InitPid };
        Processes.Add(Init);
        try
        {
            Vfs = new Files.Vfs(this);
        }
        catch (Files.MachineOptionsException)
        {
            HostPoller.Dispose();
            MemorySystem.Dispose();
            Platform.Dispose();
            throw;
        }
    }

    public MachineOptions Options { get; }

    /// <summary>The hardware: vCPUs, physical memory.</summary>
    public Platform Platform { get; }

    public PhysicalMemory Memory => Platform.Memory;

    public MemorySystem MemorySystem { get; }

    /// <summary>The watcher over locks, or null.</summary>
    internal LockDep? LockDep { get; }

    /// <summary>The watcher over translations, or null.</summary>
    internal Checker.CoherenceChecker? Checker { get; }

    /// <summary>Broken rules of the kernel's interfaces: a machine that has any has shown a fault.</summary>
    public Notifiers.Violations Violations => MemorySystem.Violations;

    public PageAllocator Pages => MemorySystem.Pages;

    public KernelMemory KernelMemory => MemorySystem.KernelMemory;

    /// <summary>The tree of files that guests see.</summary>
    public Files.Vfs Vfs { get; }

    public Clock Clock { get; }

    public RandomSource Random { get; }

    public TimerQueue Timers { get; }

    public Scheduler Scheduler { get; }

    public SyscallTable Syscalls { get; } = new();

    public ProcessTable Processes { get; } = new();

    /// <summary>Process 1: the kernel's own, with no thread. It adopts orphans and collects them at once.</summary>
    public Process Init { get; }

    /// <summary>The process of the program that <see cref="Run"/> was given.</summary>
    public Process? Main { get; private set; }

    public HostPoller HostPoller { get; }

    /// <summary>The devices /dev/hmm_dmirror*.</summary>
    internal Mirrors.DmirrorDevice[] Dmirrors { get; }

    /// <summary>The buffers that programs share with devices.</summary>
    public Mirrors.DmaBufs DmaBufs { get; }

    /// <summary>What is counted of pages that programs have mapped from others.</summary>
    public Mirrors.RemoteMaps RemoteMaps { get; } = new();

    /// <summary>The task whose thread calls, if it holds a vCPU.</summary>
    internal Task? CurrentTask => Platform.InterProcessor.HeldByThisThread()?.Occupant as Task;

    /// <summary>What the kernel has said.</summary>
    public Tracing.KernelLog KernelLog { get; }

    internal OomKiller OomKiller { get; }

    /// <summary>Changes the memory of running programs, if the options ask for it.</summary>
    internal Disturber? Disturber { get; }

    internal FutexTable Futexes { get; } = new();

    internal IpcTable<SemaphoreSet> Semaphores { get; } = new();

    internal IpcTable<MessageQueue> MessageQueues { get; } = new();

    internal HostThreads HostThreads { get; }

    /// <summary>Runs a program to its end; once in a machine's life.</summary>
    /// <param name="hostProgram">Host path of the program.</param>
    /// <param name="argv">argv[0] and what follows.</param>
    /// <param name="envp">NAME=VALUE strings.</param>
    public ExitStatus Run(string hostProgram, IReadOnlyList<byte[]> argv, IReadOnlyList<byte[]> envp)
    {
        Task first = CreateFirstTask();
        Main = first.Process;
        Scheduler.Start(first, () => first.Main(() => LoadFirst(first, hostProgram, argv, envp)));
        ExitStatus status = WaitForEnd();
        StopTasks();
        HostThreads.Stop();
        Checker?.Settle(null);
        // Idle vCPUs keep the last address space loaded; with the tasks gone its root table is to go as well.
        foreach (Vcpu vcpu in Platform.Vcpus)
        {
            vcpu.Enter();
            MemorySystem.Shootdown.SwitchToKernel(vcpu);
            vcpu.Leave();
        }
        return status;
    }

    /// <summary>When the machine's end cuts waits short, locks that were waited for are not held, and others are not released: what is seen of them then means nothing.</summary>
    private void ReportLock(Task? task, string rule, string text)
    {
        if (!Scheduler.IsStopping)
            Violations.Report(task, rule, text);
    }

    private ExitStatus WaitForEnd()
    {
        long timeout = Options.Timeout is { } t ? (long)t.TotalMilliseconds : System.Threading.Timeout.Infinite;
        long start = Environment.TickCount64;
        lock (_ended)
        {
            while (_status is null)
            {
                long left = timeout < 0 ? timeout : Math.Max(0, timeout - (Environment.TickCount64 - start));
                if (!Monitor.Wait(_ended, (int)Math.Min(left, int.MaxValue)) && _status is null && timeout >= 0 && Environment.TickCount64 - start >= timeout)
                    _status = new ExitStatus(ExitReason.TimedOut);
            }
            return _status;
        }
    }

    /// <summary>Ends the run from outside or from a task; the first reason given counts.</summary>
    internal void StopFor(ExitReason reason, string? message = null) => End(new ExitStatus(reason) { Message = message });

    private void End(ExitStatus status)
    {
        lock (_ended)
        {
            if (_status is not null)
                return;
            _status = status;
            Monitor.PulseAll(_ended);
        }
        // At once and on this thread: a deterministic machine must not run on until somebody else notices.
        StopTasks();
    }

    private void StopTasks() => Scheduler.Stop(Processes.AllTasks());

    public void Dispose()
    {
        StopFor(ExitReason.Stopped);
        HostThreads.Stop();
        HostPoller.Dispose();
        Vfs.Dispose();
        MemorySystem.Dispose();
        Platform.Dispose();
    }
}

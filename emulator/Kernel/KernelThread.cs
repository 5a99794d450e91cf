using System.Runtime.ExceptionServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel;

/// <summary>A task whose code is C# instead of a guest program: it sleeps, is scheduled, faults and takes locks as all tasks do. See <see cref="Machine.Spawn"/>.</summary>
public sealed class KernelThread
{
    private readonly WaitQueue _queue = new();
    private readonly object _monitor = new();
    private bool _announced;
    private bool _ended;

    internal KernelThread(Task task) => Task = task;

    public Task Task { get; }

    /// <summary>The code has ended, and the task has given up its address space.</summary>
    public bool HasEnded => Volatile.Read(ref _announced);

    /// <summary>What the code threw.</summary>
    internal Exception? Failure { get; set; }

    /// <summary>Waits, as a task, until the thread has ended.</summary>
    /// <exception cref="Exception">Whatever the thread's code threw.</exception>
    public void Join(Task caller)
    {
        _queue.Wait(caller, this, static t => t.HasEnded, interruptible: false);
        ThrowFailure();
    }

    /// <summary>Waits on a thread of the host. False: the time is up.</summary>
    internal bool Wait(TimeSpan? timeout)
    {
        lock (_monitor)
        {
            while (!_ended)
            {
                if (timeout is null)
                    Monitor.Wait(_monitor);
                else if (!Monitor.Wait(_monitor, timeout.Value))
                    return _ended;
            }
            return true;
        }
    }

    internal void ThrowFailure()
    {
        if (Failure is not null)
            ExceptionDispatchInfo.Throw(Failure);
    }

    /// <summary>Tells waiting tasks; by the task itself, while it is one.</summary>
    internal void Announce()
    {
        Volatile.Write(ref _announced, true);
        _queue.WakeAll();
    }

    /// <summary>Tells waiting threads of the host, when the task is gone.</summary>
    internal void End()
    {
        Announce();
        lock (_monitor)
        {
            _ended = true;
            Monitor.PulseAll(_monitor);
        }
    }
}

/// <summary>The machine stopped before the code that <see cref="Machine.Run(Action{Task})"/> was given had ended: a deadlock, or the time was up.</summary>
public sealed class MachineStoppedException : Exception
{
    public MachineStoppedException()
    {
    }

    public MachineStoppedException(string message)
        : base(message)
    {
    }

    public MachineStoppedException(string message, Exception inner)
        : base(message, inner)
    {
    }

    internal MachineStoppedException(ExitStatus status)
        : base($"{status.Reason}: {status.Message}") => Status = status;

    public ExitStatus? Status { get; }
}

/// <summary>Using a machine without a guest program.</summary>
public sealed partial class Machine
{
    /// <summary>
    /// Runs code as a task of the machine, with an empty address space of its own (<see cref="Task.Mm"/>), and returns when it has ended. May be called
    /// again and again. Tasks that it left running go on.
    /// </summary>
    /// <exception cref="MachineStoppedException">The machine stopped instead.</exception>
    /// <exception cref="Exception">Whatever the code threw.</exception>
    public void Run(Action<Task> body)
    {
        KernelThread thread = Spawn(body);
        if (!thread.Wait(Options.Timeout))
        {
            StopFor(ExitReason.TimedOut, "the code did not end in time");
            thread.Wait(null);
        }
        try
        {
            thread.ThrowFailure();
        }
        catch (TaskKilledException e)
        {
            throw _status is { } status ? new MachineStoppedException(status) : new MachineStoppedException(e.Message, e);
        }
    }

    /// <summary>Starts a task, in a process of its own, whose code is <paramref name="body"/>.</summary>
    /// <param name="body">Runs with a vCPU, and without one while it sleeps.</param>
    /// <param name="mm">Whose user it becomes for its life: that of another task, or a copy made by <see cref="Mm.Fork"/>; null: an empty one.</param>
    /// <param name="name">As reports and /proc name it.</param>
    /// <param name="vcpu">The one vCPU that it may run on; null: any.</param>
    public KernelThread Spawn(Action<Task> body, Mm? mm = null, string name = "kthread", int? vcpu = null)
    {
        int pid = Processes.AllocatePid();
        var process = new Process(this, pid, Init) { ProcessGroup = pid, Session = pid, StartNs = Clock.MonotonicNs };
        var task = new Task(this, process, pid)
        {
            Comm = name,
            Mm = mm?.Get() ?? Mm.Create(MemorySystem, CurrentTask) ?? throw new InvalidOperationException("The machine has no memory for an address space."),
            Files = new FdTable { Memory = KernelMemory },
            Fs = new FsContext(Vfs.Root, Vfs.Root),
        };
        if (vcpu is { } only)
            task.Scheduling.Affinity = CpuSet.Of(only);
        process.Threads.Add(task);
        lock (Processes.Lock)
            Init.Children.Add(process);
        Processes.Add(process);
        Processes.Add(task);
        var thread = new KernelThread(task);
        Scheduler.Start(task, () => task.RunCode(body, thread));
        return thread;
    }

    /// <summary>As <see cref="Spawn"/>, for a driver that starts a task when a program asks for it; null: there is no memory for one more, or the machine has all the tasks that it can have.</summary>
    internal KernelThread? TrySpawn(Action<Task> body, string name)
    {
        if (Processes.LimitedCount >= MaxTasks || Mm.Create(MemorySystem, CurrentTask) is not { } mm)
            return null;
        KernelThread thread = Spawn(body, mm, name);
        mm.Put(CurrentTask);
        return thread;
    }

    /// <summary>fork: starts a task in a copy of another task's address space.</summary>
    public KernelThread Fork(Task parent, Action<Task> body)
    {
        Mm copy = parent.Mm.Fork(parent) ?? throw new InvalidOperationException("The machine has no memory for a copy of the address space.");
        KernelThread child = Spawn(body, copy, parent.Comm);
        copy.Put(parent);
        return child;
    }

    /// <summary>An open file of so many bytes of zeroes that lives in memory only (memfd_create).</summary>
    public OpenFile CreateMemoryFile(Task task, ulong size)
    {
        OpenFile file = Vfs.CreateMemfd(task, "memory", Seals.None, mode: 0x1FF);
        file.Mapping!.Truncate(task, size);
        return file;
    }
}

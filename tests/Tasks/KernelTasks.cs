using System.Collections.Concurrent;
using Emulator.Kernel;
using Emulator.Kernel.Tasks;
using KernelTask = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Tasks;

/// <summary>Tasks without a guest: their code is the test's, and they sleep and are scheduled as all others are.</summary>
internal sealed class KernelTasks : IDisposable
{
    private readonly ConcurrentQueue<Exception> _failures = new();
    private readonly CountdownEvent _running = new(1);
    private readonly List<(KernelTask Task, Action Body)> _prepared = [];

    public KernelTasks(MachineOptions options) => Machine = new Machine(options with { LockDep = true });

    public Machine Machine { get; }

    /// <summary>Makes a task; it begins to run at <see cref="Join"/>.</summary>
    public KernelTask Add(Action<KernelTask> body)
    {
        int pid = Machine.Processes.AllocatePid();
        var process = new Process(Machine, pid, Machine.Init);
        var task = new KernelTask(Machine, process, pid);
        process.Threads.Add(task);
        Machine.Processes.Add(process);
        Machine.Processes.Add(task);
        _running.AddCount();
        _prepared.Add((task, () => Run(task, body)));
        return task;
    }

    private void Run(KernelTask task, Action<KernelTask> body)
    {
        try
        {
            body(task);
        }
        catch (Exception e)
        {
            _failures.Enqueue(e);
        }
        Machine.Processes.Remove(task);
        Machine.Processes.Remove(task.Process);
        Machine.Scheduler.Exit(task);
        task.ReleaseRegisters();
        _running.Signal();
    }

    /// <summary>Runs all tasks and waits for them; a failure of one is the test's.</summary>
    /// <param name="clean">They break no rule of the kernel's.</param>
    public void Join(bool clean = true)
    {
        // The first task starts the others: a deterministic machine must not see them come from outside, one by one.
        (KernelTask Task, Action Body)[] prepared = [.. _prepared];
        KernelTask first = Add(_ =>
        {
            foreach ((KernelTask task, Action body) in prepared)
                Machine.Scheduler.Start(task, body);
        });
        Machine.Scheduler.Start(first, _prepared[^1].Body);
        _running.Signal();
        Assert.That(_running.Wait(TimeSpan.FromSeconds(60)), Is.True, "the tasks do not end");
        Assert.That(_failures, Is.Empty);
        if (clean)
            Assert.That(Machine.Violations.All, Is.Empty);
    }

    public void Dispose()
    {
        Machine.Dispose();
        _running.Dispose();
    }
}

using Emulator.Kernel;
using KernelTask = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Tasks;

/// <summary>Several tasks without a guest, each with an address space of its own, that begin together.</summary>
internal sealed class KernelTasks(MachineOptions options) : IDisposable
{
    private readonly List<Action<KernelTask>> _bodies = [];

    public Machine Machine { get; } = new(options with { LockDep = true, MemoryBytes = 64 << 20, Timeout = TimeSpan.FromSeconds(60) });

    /// <summary>Makes a task; it begins to run at <see cref="Join"/>.</summary>
    public void Add(Action<KernelTask> body) => _bodies.Add(body);

    /// <summary>Runs all tasks and waits for them; a failure of one is the test's.</summary>
    /// <param name="clean">They break no rule of the kernel's.</param>
    public void Join(bool clean = true)
    {
        Machine.Run(first =>
        {
            KernelThread[] threads = [.. _bodies.Select(body => Machine.Spawn(body))];
            foreach (KernelThread thread in threads)
                thread.Join(first);
        });
        if (clean)
            Assert.That(Machine.Violations.All, Is.Empty);
    }

    public void Dispose() => Machine.Dispose();
}

using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims;

/// <summary>
/// A running machine with actors that do one thing after the other as they are told, so that a scenario reads from top to bottom. The scenario's own task
/// has a vCPU to itself, behind those of the actors.
/// </summary>
public sealed class Stage
{
    private readonly int _vcpus;
    private readonly List<Actor> _actors = [];
    private readonly ulong[] _before = new ulong[(int)ShootdownCounter.Count];

    internal Stage(Machine machine, Task task, EvidenceCase evidence, int vcpus)
    {
        (Machine, Task, Evidence, _vcpus) = (machine, task, evidence, vcpus);
        task.MoveTo(vcpus);
    }

    public Machine Machine { get; }

    /// <summary>The task that the scenario runs as.</summary>
    public Task Task { get; }

    public EvidenceCase Evidence { get; }

    /// <summary>Rules that were broken so far; taking them says that they were expected.</summary>
    public Violations Violations => Machine.Violations;

    /// <summary>Brings on an actor, who stays on a vCPU of the actors'.</summary>
    /// <param name="name">For the evidence.</param>
    /// <param name="vcpu">Actors may share one: who acts takes it, and the others are switched out.</param>
    /// <param name="keepsRunning">
    /// Between its acts it keeps its vCPU, as a program does that computes. Otherwise it sleeps: the vCPU is idle in lazy-TLB mode, or runs somebody else.
    /// </param>
    /// <param name="mm">Whose address space it has; null: one of its own.</param>
    public Actor Enter(string name, int vcpu, bool keepsRunning = false, Mm? mm = null)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(vcpu, _vcpus);
        var actor = new Actor(this, name, vcpu, keepsRunning, mm);
        _actors.Add(actor);
        return actor;
    }

    /// <summary>From now on <see cref="Count"/> counts.</summary>
    public void ResetCounters()
    {
        foreach (ShootdownCounterInfo info in ShootdownCounterList.All)
            _before[(int)info.Counter] = Machine.MemorySystem.Shootdown.Total(info.Counter);
    }

    /// <summary>What was counted since <see cref="ResetCounters"/>.</summary>
    public ulong Since(ShootdownCounter counter) => Machine.MemorySystem.Shootdown.Total(counter) - _before[(int)counter];

    /// <summary>Simulated cycles of all vCPUs so far, by the cost model.</summary>
    public ulong Cycles => Machine.Statistics("", new ExitStatus(ExitReason.Exited), 1)["cycles.total"];

    /// <summary>Puts counters that are not zero, and those asked for, into the evidence.</summary>
    public void Count(params ReadOnlySpan<ShootdownCounter> always)
    {
        foreach (ShootdownCounterInfo info in ShootdownCounterList.All)
        {
            ulong value = Since(info.Counter);
            if (value != 0 || always.Contains(info.Counter))
                Evidence.Count(info.Name, value);
        }
    }

    /// <summary>A frame as it is now.</summary>
    public FrameTag Tag(Pfn frame) => new(frame, Machine.Pages[frame].Generation);

    /// <summary>Whether a frame has been freed since the tag was made.</summary>
    public bool IsFreed(FrameTag tag) => Machine.Pages[tag.Frame].Generation != tag.Generation;

    /// <summary>Ends all actors.</summary>
    internal void Leave()
    {
        foreach (Actor actor in _actors)
            actor.Leave();
    }
}

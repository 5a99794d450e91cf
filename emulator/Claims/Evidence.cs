using System.Globalization;
using Emulator.Kernel;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims;

/// <summary>What a scenario saw, case by case.</summary>
/// <param name="seed">Of the machines' schedulers.</param>
public sealed class Evidence(ulong seed)
{
    private readonly List<EvidenceCase> _cases = [];

    public ulong Seed { get; } = seed;

    public IReadOnlyList<EvidenceCase> Cases => _cases;

    /// <summary>Begins a case: one set-up out of those that a scenario compares.</summary>
    public EvidenceCase Case(string title)
    {
        var added = new EvidenceCase(title);
        _cases.Add(added);
        return added;
    }

    /// <summary>Runs a case on a machine of its own, with lockdep and the deterministic scheduler.</summary>
    /// <param name="title">What is different here.</param>
    /// <param name="vcpus">Those that actors stand on; the task that <paramref name="body"/> runs as gets one more.</param>
    /// <param name="body">The scenario.</param>
    /// <param name="change">What the machine has that others do not.</param>
    /// <exception cref="InconclusiveException">The machine stopped, or broke a rule that the body did not take from <see cref="Stage.Violations"/>.</exception>
    public void Stage(string title, int vcpus, Action<Stage> body, Func<MachineOptions, MachineOptions>? change = null)
    {
        if (StageUntilDeadlock(title, vcpus, body, change) is { } message)
            throw new InconclusiveException($"{title}: the machine stopped: {message}");
    }

    /// <summary>As <see cref="Stage"/>, for scenarios that may end in a deadlock: then what was waited for goes into the evidence, with the rules broken.</summary>
    /// <returns>Null: the body came to its end; otherwise what the machine said of the deadlock.</returns>
    public string? StageUntilDeadlock(string title, int vcpus, Action<Stage> body, Func<MachineOptions, MachineOptions>? change = null)
    {
        EvidenceCase here = Case(title);
        var options = new MachineOptions
        {
            Vcpus = vcpus + 1,
            MemoryBytes = 1UL << 30,
            // Claims are about single pages, and scenarios count them.
            TransparentHugePages = Kernel.Memory.HugePagePolicy.Madvise,
            Deterministic = true,
            Seed = Seed,
            LockDep = true,
            Timeout = TimeSpan.FromSeconds(60),
        };
        using var machine = new Machine(change?.Invoke(options) ?? options);
        try
        {
            machine.Run(task =>
            {
                var stage = new Stage(machine, task, here, vcpus);
                try
                {
                    body(stage);
                }
                finally
                {
                    stage.Leave();
                }
            });
        }
        catch (MachineStoppedException e) when (e.Status?.Reason == ExitReason.Deadlock)
        {
            here.Add($"deadlock: {e.Status.Message}");
            foreach (Violation violation in machine.Violations.Take().DistinctBy(static v => v.Rule, StringComparer.Ordinal))
                here.Add($"rule broken: {violation.Rule}: {violation.Text.Split('\n')[0]}");
            return e.Status.Message ?? "";
        }
        catch (MachineStoppedException e)
        {
            throw new InconclusiveException($"{title}: the machine stopped: {e.Message}", e);
        }
        foreach (Violation violation in machine.Violations.Take())
            throw new InconclusiveException($"{title}: {violation}");
        return null;
    }
}

/// <summary>One case of a scenario: sentences about what was seen, and counts.</summary>
public sealed class EvidenceCase
{
    private readonly List<string> _lines = [];
    private readonly List<KeyValuePair<string, ulong>> _counters = [];

    internal EvidenceCase(string title) => Title = title;

    public string Title { get; }

    public IReadOnlyList<string> Lines => _lines;

    public IReadOnlyList<KeyValuePair<string, ulong>> Counters => _counters;

    public void Add(FormattableString line) => _lines.Add(line.ToString(CultureInfo.InvariantCulture));

    public void Add(string line) => _lines.Add(line);

    public void Count(string name, ulong value) => _counters.Add(new(name, value));
}

using System.Collections.Immutable;
using Emulator.Claims;
using Emulator.Hardware.Cpu;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tracing;
using Iced.Intel;

namespace Emulator.Cli.Reports;

/// <summary>What <c>emulator list</c> knows. Each comes from where the thing itself is, and nothing is made before it is asked for.</summary>
internal static class Listings
{
    public static Listing Claims { get; } = new("claims", "claim", "what was said about Linux's secondary MMUs, and the verdict that is expected; 'emulator claims run' tries them",
        [new("number"), new("expected"), new("name"), new("claim"), new("source"), new("reason", InTable: false)],
        static () => ClaimList.All.Select(static c => new object[] { c.Number, ClaimReport.Word(c.Expected), c.Name, c.Text, c.Source, c.Reason }));

    public static ImmutableArray<Listing> All { get; } =
    [
        new("instructions", "instruction", "instruction forms that are executed, with the CPUID features they need",
            [new("form"), new("mnemonic", InTable: false), new("features")],
            static () => SupportedInstructions.Find().Select(static code => new object[]
            {
                code.ToOpCode().ToInstructionString(), code.Mnemonic().ToString().ToUpperInvariant(), code.CpuidFeatures().Select(static f => f.ToString()).ToArray(),
            })),
        new("syscalls", "syscall", "system calls of x86-64 Linux; the others are answered with ENOSYS (--unsupported)",
            [new("number"), new("name"), new("implemented"), new("arguments")], Syscalls),
        new("counters", "counter", "what --stats counts", [new("name"), new("unit"), new("per_vcpu"), new("help")], Counters),
        new("policies", "policy", "how changes of shared page tables reach TLBs (--flush)",
            [new("name"), new("sound"), new("default"), new("summary"), new("source", InTable: false), new("price", InTable: false), new("limits", InTable: false)],
            static () => SharedFlushPolicies.All.Select(static p => new object[] { p.Name, p.IsSound, p == SharedFlushPolicies.Default, p.Summary, p.Source, p.Price, p.Limits })),
        Claims,
        new("udmabuf", "udmabuf-mode", "designs of /dev/udmabuf (--udmabuf)",
            [new("name"), new("soundness"), new("default"), new("proposer"), new("text")],
            static () => UdmabufModes.All.Select(static m => new object[] { m.Name, m.Soundness.Text(), m == UdmabufOptions.Default.Mode, m.Proposer, m.Text })),
    ];

    /// <summary>The listing of a name, or null.</summary>
    public static Listing? Find(string name) => All.FirstOrDefault(l => l.Name.Equals(name, StringComparison.Ordinal));

    private static IEnumerable<object[]> Syscalls()
    {
        var table = new SyscallTable();
        foreach (ulong number in SyscallNames.Numbers)
            yield return [(int)number, SyscallNames.Of(number), table[number] is not null, table[number]?.Arguments ?? ""];
    }

    /// <summary>The figures of a machine that has all there is to count.</summary>
    private static IEnumerable<object[]> Counters()
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = 16 << 20, Disturbance = new DisturbanceRates(1, 1, 1, 1) });
        return [.. machine.Statistics("", new ExitStatus(ExitReason.Exited), 0).Figures.Select(static f => new object[] { f.Name, f.Unit, !f.PerVcpu.IsDefaultOrEmpty, f.Help })];
    }
}

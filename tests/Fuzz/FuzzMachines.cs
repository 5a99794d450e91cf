using System.Globalization;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Shootdown.Policies;

namespace Emulator.Tests.Fuzz;

/// <summary>The kinds of machines that batches run on. A batch's seed decides, so its replay gets the same machine.</summary>
internal static class FuzzMachines
{
    /// <summary>Memory that hardly any batch uses up.</summary>
    public const ulong Ample = 64 << 20;

    private static readonly string[] Policies = [.. SharedFlushPolicies.All.Where(static policy => policy.IsSound).Select(static policy => policy.Name)];

    /// <summary>One of the kinds, half of them deterministic.</summary>
    /// <param name="options">What the feed asks for; this stays.</param>
    /// <param name="seed">A batch's.</param>
    public static MachineOptions Vary(MachineOptions options, ulong seed)
    {
        var random = FuzzSettings.RandomOf(seed ^ 0x6D61_6368);
        (ulong memory, ulong swap, int huge) = random.Next(8) switch
        {
            0 => (16UL << 20, 0UL, 0),
            1 => (16UL << 20, 4UL << 20, 0),
            2 => (24UL << 20, 0UL, 1),
            3 => (24UL << 20, 16UL << 20, 1),
            4 => (Ample, 0UL, 2),
            _ => (Ample, 8UL << 20, 2),
        };
        return options with
        {
            Seed = seed,
            Deterministic = random.Next(2) == 0,
            Vcpus = random.Next(4) switch { 0 => 1, 1 => 3, _ => 2 },
            MemoryBytes = memory,
            SwapBytes = swap,
            HugePages = huge,
            Check = random.Next(4) == 0,
            Disturbance = random.Next(3) == 0 ? new DisturbanceRates(500, 500, 200, 1000) : options.Disturbance,
            Profile = random.Next(4) == 0 ? KernelProfile.V6_1 : KernelProfile.V6_12,
            FlushPolicy = random.Next(2) == 0 ? null : Policies[random.Next(Policies.Length)],
            Sysctls = memory == Ample && random.Next(8) == 0 ? ["vm.overcommit_memory=2"] : options.Sysctls,
        };
    }

    /// <summary>For who reads of a failure.</summary>
    public static string Describe(MachineOptions options) => string.Create(CultureInfo.InvariantCulture,
        $"{(options.Deterministic ? "deterministic" : "parallel")}, {options.Vcpus} vCPUs, {options.MemoryBytes >> 20} MiB, swap {options.SwapBytes >> 20} MiB, {options.Profile}, flush {options.FlushPolicy ?? "default"}{(options.Check ? ", checked" : "")}{(options.Disturbance.Total > 0 ? ", disturbed" : "")}");
}

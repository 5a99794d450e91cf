using System.Collections.Immutable;
using Emulator.Kernel.Mirrors.Mshare;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>The one list of policies: sound ones first, the best of them as the default.</summary>
public static class SharedFlushPolicies
{
    public static SharedFlushPolicy Default { get; } = new ExactSharersPolicy();

    /// <summary>What the patches of RFC v3 do as they were posted.</summary>
    private static readonly SharedFlushPolicy AsPosted = new HostMmOnlyPolicy();

    public static ImmutableArray<SharedFlushPolicy> All { get; } =
    [
        Default,
        new FlushAllPolicy(),
        new NotifierFlushAllPolicy(),
        new PerSharerPolicy(),
        new UnionMaskPolicy(),
        new HostCpumaskPolicy(),
        new BatchedPolicy(),
        new RangeUnlinkPolicy(),
        new BroadcastPolicy(),
        new NonePolicy(),
        new LoadedOnlyPolicy(),
        AsPosted,
        new HostCpumaskUntaughtPolicy(),
        new BatchedNoBumpPolicy(),
        new AfterFreePolicy(),
    ];

    /// <summary>The policy that a machine's options ask for.</summary>
    /// <exception cref="ArgumentException">They name none that there is.</exception>
    internal static SharedFlushPolicy Find(MachineOptions options) =>
        options.FlushPolicy is { } name ? Find(name) ?? throw new ArgumentException($"there is no flush policy '{name}'", nameof(options))
        : options.MshareVariant == MshareVariant.RfcV3 ? AsPosted
        : Default;

    /// <summary>The policy of a name, or null.</summary>
    public static SharedFlushPolicy? Find(string name) => All.FirstOrDefault(p => p.Name.Equals(name, StringComparison.Ordinal));
}

using System.Collections.Immutable;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>The one list of policies: sound ones first, the best of them as the default.</summary>
public static class SharedFlushPolicies
{
    public static SharedFlushPolicy Default { get; } = new ExactSharersPolicy();

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
        new HostMmOnlyPolicy(),
        new HostCpumaskUntaughtPolicy(),
        new BatchedNoBumpPolicy(),
        new AfterFreePolicy(),
    ];

    /// <summary>The policy of a name, or null.</summary>
    public static SharedFlushPolicy? Find(string name) => All.FirstOrDefault(p => p.Name.Equals(name, StringComparison.Ordinal));
}

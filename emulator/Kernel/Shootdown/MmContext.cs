using Emulator.Hardware.Smp;

namespace Emulator.Kernel.Shootdown;

/// <summary>What an address space is to TLBs (Linux's <c>mm_context_t</c>).</summary>
public sealed class MmContext
{
    private const long TrimPeriodNs = 1_000_000_000;

    private ulong _generation = 1;
    private long _nextTrimNs;
    private ulong _sharedGeneration = 1;
    private SharedLinks? _links;

    internal MmContext(ulong id, long nowNs)
    {
        Id = id;
        _nextTrimNs = nowNs + TrimPeriodNs;
    }

    /// <summary>Names the address space; never reused in a machine.</summary>
    public ulong Id { get; }

    /// <summary>Raised by every flush request (tlb_gen).</summary>
    public ulong Generation => Volatile.Read(ref _generation);

    /// <summary>vCPUs that may hold translations of it and need to be told (mm_cpumask).</summary>
    internal VcpuMask Cpus;

    internal ulong RaiseGeneration() => Interlocked.Increment(ref _generation);

    /// <summary>
    /// Of a host of shared tables: raised once for all its sharers, each of which a vCPU brings up to date when it loads it. Not every
    /// <see cref="Policies.SharedFlushPolicy"/> uses it.
    /// </summary>
    internal ulong SharedGeneration => Volatile.Read(ref _sharedGeneration);

    internal ulong RaiseSharedGeneration() => Interlocked.Increment(ref _sharedGeneration);

    /// <summary>The regions that this address space shares; null for all but sharers.</summary>
    internal SharedLinks? Links => Volatile.Read(ref _links);

    /// <summary>Replaces <see cref="Links"/>, with a full fence behind it.</summary>
    internal void SetLinks(SharedLinks? links) => Interlocked.Exchange(ref _links, links);

    /// <summary>Once a second a flush also goes to vCPUs that have left, so that they leave the mask (should_trim_cpumask).</summary>
    internal bool ShouldTrim(long nowNs)
    {
        if (nowNs <= Volatile.Read(ref _nextTrimNs))
            return false;
        Volatile.Write(ref _nextTrimNs, nowNs + TrimPeriodNs);
        return true;
    }
}

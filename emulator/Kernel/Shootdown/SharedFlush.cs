using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>What a <see cref="Policies.SharedFlushPolicy"/> is asked for: to make every vCPU forget [Start, End) of a host, wherever its sharers see it.</summary>
/// <param name="Shootdown">The machine's.</param>
/// <param name="Self">The vCPU that the caller holds, if any.</param>
/// <param name="Host">The address space whose tables are shared.</param>
/// <param name="Start">First byte.</param>
/// <param name="End">First byte behind, or <see cref="TlbShootdown.FlushAll"/>.</param>
/// <param name="StrideShift">log2 of the pages' size.</param>
/// <param name="FreedTables">Page tables are going away.</param>
internal readonly record struct SharedFlush(TlbShootdown Shootdown, Vcpu? Self, Mm Host, ulong Start, ulong End, int StrideShift, bool FreedTables)
{
    /// <summary>Page by page would take longer than to forget everything.</summary>
    public bool IsWide => End == TlbShootdown.FlushAll || (End - Start) >> StrideShift > Shootdown.Ceiling;

    /// <summary>Who shares at this instant. The caller has changed its entries before: who links later sees the changed ones.</summary>
    public ReadOnlySpan<Sharer> Sharers => Host.Sharing is { } sharing ? sharing.Sharers : default;

    public CpuTlbState Counts => Shootdown.CountsOf(Self);

    /// <summary>Interrupts the vCPUs of a mask with a request, counts, and returns when all have served it.</summary>
    public void Call(in VcpuMask mask, FlushRequest request) => Shootdown.Call(Self, mask, request, Counts);
}

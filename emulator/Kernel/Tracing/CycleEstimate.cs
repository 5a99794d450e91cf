using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Shootdown;

namespace Emulator.Kernel.Tracing;

/// <summary>Simulated cycles of one vCPU, from its counts and a <see cref="CostModel"/>.</summary>
/// <remarks>
/// A flush costs its initiator: sending to each target; the round trip, and what the slowest target does beyond the initiator's own part, for
/// all work at once. It costs each target the interrupt and its flushes. What a full flush loses is paid later, by whoever walks.
/// Kernel work between, caches, and waiting for locks or for a vCPU are not in the model.
/// </remarks>
internal readonly record struct CycleEstimate(ulong Execution, ulong Tlb, ulong Faults, ulong SystemCalls, ulong Flushes, ulong IpiSending, ulong IpiWaiting, ulong IpiReceiving)
{
    public ulong Total => Execution + Tlb + Faults + SystemCalls + Flushes + IpiSending + IpiWaiting + IpiReceiving;

    public static unsafe CycleEstimate Of(Vcpu vcpu, TlbShootdown shootdown, ulong systemCalls, CostModel cost)
    {
        ref CounterValues n = ref vcpu.State->Tlb.Counters;
        ulong Shot(ShootdownCounter counter) => shootdown.Count(counter, vcpu.Id);
        return new CycleEstimate(
            Execution: (ulong)vcpu.State->Instructions * cost[Cost.Instruction],
            Tlb: (n[Counter.Level1Misses] - n[Counter.Level2Misses]) * cost[Cost.TlbL2Hit] + n[Counter.WalkReferences] * cost[Cost.WalkReference]
                + (n[Counter.AccessedSet] + n[Counter.DirtySet]) * cost[Cost.AccessedDirtyUpdate],
            Faults: n[Counter.PageFaults] * cost[Cost.PageFault],
            SystemCalls: systemCalls * cost[Cost.SystemCall],
            Flushes: n[Counter.FlushPage] * cost[Cost.Invlpg] + n[Counter.FlushLoadCr3] * cost[Cost.LoadCr3] + n[Counter.LoadCr3NoFlush] * cost[Cost.LoadCr3NoFlush]
                + (n[Counter.FlushPageOfPcid] + n[Counter.FlushContext] + n[Counter.FlushAllNonGlobal] + n[Counter.FlushAll]) * cost[Cost.Invpcid]
                + Shot(ShootdownCounter.Broadcasts) * cost[Cost.Invlpgb] + Shot(ShootdownCounter.BroadcastWaits) * cost[Cost.TlbSync],
            IpiSending: n[Counter.IpisSent] * cost[Cost.IpiSend],
            IpiWaiting: (Shot(ShootdownCounter.WaitCalls) + n[Counter.CodeRevocations]) * cost[Cost.IpiRoundTrip]
                + Shot(ShootdownCounter.WaitPageFlushes) * cost[Cost.Invlpg] + Shot(ShootdownCounter.WaitFullFlushes) * cost[Cost.LoadCr3],
            IpiReceiving: (n[Counter.IpisReceived] + n[Counter.IpisServedIdle]) * cost[Cost.IpiReceive]);
    }
}

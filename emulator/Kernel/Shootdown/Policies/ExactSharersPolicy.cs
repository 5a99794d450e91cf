using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>
/// Interrupts exactly the vCPUs that run a sharer which sees what changed, and raises one generation, the host's, for all the others.
/// </summary>
/// <remarks>
/// <para>A vCPU's slot remembers, besides the address space's own generation, the sum of the generations of the hosts it shares
/// (<see cref="CpuTlbState.Slot.SharedGeneration"/>). Who is running is read off the vCPUs rather than off the sharers. So neither the initiator
/// nor a switch does anything that grows with the number of sharers.</para>
/// <para>Running, switched-out and switching vCPUs; both sides have full fences between their lines:</para>
/// <code>
///   who changes the tables                         a vCPU that switches to a sharer
///   clear the entry                                announce the switch (IsSwitching)
///   raise the host's generation                    read the host's generation; behind: flush the slot
///   read IsSwitching, then what is loaded          say what is loaded; withdraw the announcement
/// </code>
/// Either the right side reads the raised generation, and flushes; or the left side, later, finds it switching or with the sharer loaded, and
/// interrupts it. A lazy vCPU's <c>IsLazy</c> takes the place of <c>IsSwitching</c>: it is withdrawn before the generation is read. While tables
/// are freed lazy vCPUs are interrupted too, and leave. A slot that is not loaded cannot be walked through.
/// <para>Page by page is right if the slot has seen every raise but this request's, as in flush_tlb_func. The sum tells which raise is missing only
/// if there is one host; a process that shares several regions flushes everything. Sums of different sets of regions are never compared: a slot
/// that remembers another set is behind.</para>
/// </remarks>
internal sealed class ExactSharersPolicy : SharedFlushPolicy
{
    public override string Name => "exact-sharers";

    public override string Summary => "interrupt the vCPUs that run a sharer of the range, page by page; one generation for all others";

    public override string Source => "ours; the sharer sets of numaPTE (arXiv 2401.15558) and the generations of arch/x86/mm/tlb.c, applied to Dave Hansen's list of 2 October 2024";

    public override string Price => "one look at each vCPU, one generation, one interrupt for each vCPU that runs a sharer; nothing that grows with sharers";

    public override string Limits => "right everywhere; a process that shares several regions loses page-by-page flushes";

    internal override bool ShouldDefer => true;

    internal override void Flush(in SharedFlush flush)
    {
        ulong generation = Raise(flush);
        flush.Call(flush.Shootdown.RunningSharers(flush), new Request(flush, generation));
    }

    /// <summary>Whoever runs a sharer now is asked when the batch is flushed; whoever loads one meanwhile sees the generation.</summary>
    internal override bool AddToBatch(in SharedFlush flush, ref VcpuMask cpus)
    {
        Raise(flush);
        cpus.Add(flush.Shootdown.RunningSharers(flush));
        return false;
    }

    private static ulong Raise(in SharedFlush flush)
    {
        flush.Counts[ShootdownCounter.GenerationsRaised]++;
        return flush.Host.Context.RaiseSharedGeneration();
    }

    private sealed class Request(in SharedFlush flush, ulong generation) : SharedFlushRequest(flush, generation)
    {
        protected override void Serve(Vcpu target, CpuTlbState cpu, bool remote)
        {
            if (!TryFindLoaded(target, cpu, remote, out Mm sharer, out SharedLinks links))
                return;
            ref CpuTlbState.Slot slot = ref cpu.Slots[cpu.LoadedSlot];
            if (!slot.IsBehind(links))
            {
                TlbShootdown.CountVain(cpu, ShootdownCounter.NothingGeneration, remote);
                return;
            }
            ulong current = links.Generation;
            bool onlyThis = slot.Links == links && links.OnlyHost == Host && current == slot.SharedGeneration + 1 && Host.SharedGeneration == Generation;
            if (onlyThis && End != TlbShootdown.FlushAll)
            {
                FlushLoaded(target, cpu, sharer, links, remote);
                slot.SharedGeneration = current;
            }
            else
            {
                FlushLoadedFully(target, cpu, sharer, links, remote);
            }
        }
    }
}

using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>Hardware broadcasts the invalidation, as INVLPGB does, and the initiator waits until all vCPUs have carried it out, as TLBSYNC does.</summary>
/// <remarks>
/// An address is invalidated in every PCID, on every vCPU, with the paging-structure caches; so kept slots, lazy vCPUs and vCPUs that switch are
/// all reached, and no generation is needed. No software runs there. The addresses are those of the sharers on the list, which holds everybody
/// who can have cached the entry; most share a region at the same address, and each different place is broadcast once.
/// Beyond the ceiling, and when tables are freed, everything but global entries goes. The host has no ASID of its own that vCPUs would use (in
/// Linux it could never get a global one, since it never runs), so the form that names an ASID does not help.
/// </remarks>
internal sealed class BroadcastPolicy : SharedFlushPolicy
{
    /// <summary>Different places of a region that are told apart; more are rare, and everything is flushed.</summary>
    private const int Places = 8;

    public override string Name => "broadcast";

    public override string Summary => "no interrupts: hardware invalidates the address in every PCID of every vCPU (INVLPGB)";

    public override string Source => "Rik van Riel, February and March 2025, x86/mm: AMD broadcast TLB invalidation (Linux 6.15); applied here to all PCIDs at once";

    public override string Price => "one INVLPGB for each page and place, one TLBSYNC; no vCPU is interrupted; the list of sharers is read for their places";

    public override string Limits => "needs the instruction (AMD since Zen 3); unrelated programs lose the same addresses and their paging-structure caches";

    internal override void Flush(in SharedFlush flush)
    {
        // In bounds: one more place than these makes it a flush of everything.
        Span<(ulong Start, ulong End)> places = stackalloc (ulong, ulong)[Places];
        int count = 0;
        bool everything = flush.IsWide || flush.FreedTables;
        foreach (ref readonly Sharer sharer in flush.Sharers)
        {
            if (everything)
                break;
            if (!sharer.TryTranslate(flush.Start, flush.End, out ulong start, out ulong end) || places[..count].Contains((start, end)))
                continue;
            everything = count == Places;
            if (!everything)
                places[count++] = (start, end);
        }
        if (count == 0 && !everything)
            return;
        var request = new Request(flush, everything ? null : places[..count].ToArray());
        flush.Counts[ShootdownCounter.Broadcasts] += request.Instructions;
        flush.Counts[ShootdownCounter.BroadcastWaits]++;
        flush.Shootdown.Broadcast(flush.Self, request);
    }

    /// <summary>What the hardware does on a vCPU: no interrupt, and no software that could look at generations.</summary>
    private sealed unsafe class Request(in SharedFlush flush, (ulong Start, ulong End)[]? places) : SharedFlushRequest(flush)
    {
        public override bool IsBroadcast => true;

        /// <summary>Instructions that it takes; a whole flush is one.</summary>
        public ulong Instructions => places is null ? 1 : (ulong)places.Length * (((End - Start - 1) >> StrideShift) + 1);

        protected override void Serve(Vcpu target, CpuTlbState cpu, bool remote)
        {
            if (places is null)
            {
                TlbShootdown.CountSharedLoss(target, cpu, this, remote: false);
                Mmu.Broadcast(target.State);
                return;
            }
            ulong named = 0, others = 0;
            foreach ((ulong start, ulong end) in places)
            {
                for (ulong address = start; address < end; address += 1UL << StrideShift)
                {
                    for (int slot = 0; slot < CpuTlbState.SlotCount; slot++)
                    {
                        if (!Mmu.Broadcast(target.State, TlbShootdown.PcidOf(slot), address))
                            continue;
                        if (cpu.Slots[slot].Context?.Links is { } links && links.Has(Host))
                            named++;
                        else
                            others++;
                    }
                }
            }
            TlbShootdown.CountLoss(cpu, named, others, remote: false);
        }
    }
}

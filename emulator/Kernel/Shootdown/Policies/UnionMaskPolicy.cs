using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>One interrupt to the union of the sharers' masks, of a new kind that means any of them, with every sharer's generation raised.</summary>
/// <remarks>
/// For each sharer the order is that of an ordinary flush:
/// <code>
///   who changes the tables                         a vCPU that switches to the sharer
///   clear the entry                                enter the sharer's mask
///   raise the sharer's generation                  read the sharer's generation; behind: flush the slot
///   read the sharer's mask
/// </code>
/// so a vCPU is in the union or flushes by itself; raising them all before reading any mask would be as good. A target looks whether what it has
/// loaded by now is a sharer. Page by page is right only if this request's raise of that sharer's generation is the one it has not seen, so the
/// request carries them all. Lazy vCPUs are left out unless tables are freed; the generation waits for them.
/// </remarks>
internal sealed class UnionMaskPolicy : SharedFlushPolicy
{
    public override string Name => "union-mask";

    public override string Summary => "one interrupt to the union of all sharers' masks, all their generations raised";

    public override string Source => "Dave Hansen, 2 October 2024, same thread: \"keeping a single cpumask that you build up\" and \"a new flush_tlb_func() flush type\"";

    public override string Price => "a generation and a mask for each sharer, then one interrupt for each vCPU of the union; a target looks itself up among the sharers";

    public override string Limits => "without the generations it is wrong (loaded-only); grows with sharers that never run";

    internal override void Flush(in SharedFlush flush)
    {
        ReadOnlySpan<Sharer> sharers = flush.Sharers;
        var raised = new (MmContext Sharer, ulong Generation)[sharers.Length];
        VcpuMask mask = default;
        int count = 0;
        foreach (ref readonly Sharer sharer in sharers)
        {
            if (!sharer.TryTranslate(flush.Start, flush.End, out _, out _) || (count > 0 && raised[count - 1].Sharer == sharer.Mm.Context))
                continue;
            raised[count++] = (sharer.Mm.Context, sharer.Mm.Context.RaiseGeneration());
            mask.Add(sharer.Mm.Context.Cpus.Snapshot());
        }
        flush.Counts[ShootdownCounter.GenerationsRaised] += (ulong)count;
        if (!flush.FreedTables)
            flush.Shootdown.DropLazy(ref mask, flush.Counts);
        flush.Call(mask, new Request(flush, raised));
    }

    private sealed class Request(in SharedFlush flush, (MmContext Sharer, ulong Generation)[] raised) : SharedFlushRequest(flush)
    {
        protected override void Serve(Vcpu target, CpuTlbState cpu, bool remote)
        {
            if (!TryFindLoaded(target, cpu, remote, out Mm sharer, out SharedLinks links))
                return;
            ref CpuTlbState.Slot slot = ref cpu.Slots[cpu.LoadedSlot];
            ulong current = sharer.Context.Generation;
            if (current == slot.Generation)
            {
                TlbShootdown.CountVain(cpu, ShootdownCounter.NothingGeneration, remote);
                return;
            }
            if (End != TlbShootdown.FlushAll && current == slot.Generation + 1 && Array.IndexOf(raised, (sharer.Context, current)) >= 0)
            {
                FlushLoaded(target, cpu, sharer, links, remote);
                slot.Generation = current;
            }
            else
            {
                FlushLoadedFully(target, cpu, sharer, links, remote);
            }
        }
    }
}

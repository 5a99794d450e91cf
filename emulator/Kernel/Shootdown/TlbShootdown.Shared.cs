using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown.Policies;

namespace Emulator.Kernel.Shootdown;

/// <summary>
/// Shared page tables: no vCPU ever loads the host whose entries change, so its own mask and generation reach nobody. Who is asked instead
/// is a <see cref="SharedFlushPolicy"/>; here is what policies have in common.
/// </summary>
public sealed unsafe partial class TlbShootdown
{
    /// <summary>How changes of shared tables reach those who share them. Set before the first vCPU runs.</summary>
    public SharedFlushPolicy SharedPolicy { get; set; } = SharedFlushPolicies.Default;

    /// <summary>
    /// An address space begins to share a region; no link into it exists yet. The caller holds the sharer's mmap lock for writing.
    /// </summary>
    /// <param name="self">The vCPU that the caller holds, if any.</param>
    /// <param name="host">Has the tables.</param>
    /// <param name="sharer">What is shared, and where.</param>
    internal void Attach(Vcpu? self, Mm host, in Sharer sharer)
    {
        MmContext context = sharer.Mm.Context;
        SharedLinks? before = context.Links;
        SharedLinks after = SharedLinks.With(before, host.Context, sharer);
        // Nothing of the region can be cached yet: a slot that was up to date is so with the region, too. Looked at before anybody can cache.
        ulong added = before is null || !before.Has(host.Context) ? host.Context.SharedGeneration : 0;
        context.SetLinks(after);
        SharedPolicy.Attached(host.Context, context);
        if (self is null || _cpus[self.Id].LoadedMm != sharer.Mm)
            return;
        ref CpuTlbState.Slot slot = ref _cpus[self.Id].Slots[_cpus[self.Id].LoadedSlot];
        if (slot.Links == before)
            (slot.Links, slot.SharedGeneration) = (after, slot.SharedGeneration + added);
    }

    /// <summary>An address space has stopped to share a region: the links are gone, and every vCPU has flushed them. As <see cref="Attach"/>.</summary>
    internal static void Detach(Mm host, in Sharer sharer) => sharer.Mm.Context.SetLinks(SharedLinks.Without(sharer.Mm.Context.Links, host.Context, sharer));

    /// <summary>Hands a flush of a host over to the policy. The host's own notifiers, and those of the sharers, are the caller's affair.</summary>
    private void FlushShared(Vcpu? self, Mm host, ulong start, ulong end, int strideShift, bool freedTables)
    {
        var flush = new SharedFlush(this, self, host, start, end, strideShift, freedTables);
        flush.Counts[ShootdownCounter.SharedRequests]++;
        SharedPolicy.Flush(flush);
    }

    /// <summary>
    /// The vCPUs that run a sharer which sees a range of a host, or may be about to: what matters is what each has loaded now, so nobody has
    /// to keep a mask. Lazy ones look at generations by themselves, and are included only if tables are freed.
    /// </summary>
    internal VcpuMask RunningSharers(in SharedFlush flush)
    {
        CpuTlbState counts = flush.Counts;
        VcpuMask mask = default;
        for (int id = 0; id < _cpus.Length; id++)
        {
            CpuTlbState cpu = _cpus[id];
            // In this order: a switch announces itself, then changes what is loaded, then withdraws.
            if (!cpu.IsSwitching && (cpu.LoadedMm?.Context.Links is not { } links || !links.Touch(flush)))
                continue;
            if (cpu.IsLazy && !flush.FreedTables)
                counts[ShootdownCounter.SkippedLazy]++;
            else
                mask.Add(id);
        }
        return mask;
    }

    /// <summary>
    /// Drops every translation on every vCPU, as <see cref="FlushEverything"/>, and counts what that costs and how much of it was about a
    /// range of a host.
    /// </summary>
    internal void FlushEverythingFor(in SharedFlush flush) => flush.Call(_allVcpus, new FlushAllForRequest(flush));

    /// <summary>Flushes, on a vCPU that has a sharer loaded, a request's pages wherever the sharer sees them.</summary>
    internal static void FlushLinkedPages(Vcpu vcpu, CpuTlbState cpu, SharedLinks links, SharedFlushRequest request, bool remote)
    {
        int pages = 0;
        ulong lost = 0;
        for (int at = 0; links.TryNext(ref at, request.Host, request.Start, request.End, out ulong start, out ulong end);)
        {
            for (ulong address = start; address < end; address += 1UL << request.StrideShift, pages++)
                lost += Mmu.InvalidatePage(vcpu.State, address) ? 1UL : 0;
        }
        cpu[ShootdownCounter.PageFlushes] += (ulong)pages;
        CountLoss(cpu, lost, 0, remote);
        request.NotePages(pages, remote);
    }

    /// <summary>Flushes the sharer that a vCPU has loaded, and notes that it is up to date with all that is true now.</summary>
    internal static void FlushLinkedFully(Vcpu vcpu, CpuTlbState cpu, Mm sharer, SharedLinks links, SharedFlushRequest request, bool remote)
    {
        Update(ref cpu.Slots[cpu.LoadedSlot], sharer.Context);
        cpu[ShootdownCounter.FullFlushes]++;
        CountShared(vcpu, cpu, cpu.LoadedSlot, links, request.Host, request, out ulong named, out ulong others);
        CountLoss(cpu, named, others, remote);
        Load(vcpu, sharer.Root, cpu.LoadedSlot, keepEntries: false);
        if (remote)
            request.NoteFull();
    }

    /// <summary>How many of a slot's translations a request names, and how many it does not.</summary>
    private static void CountShared(Vcpu vcpu, CpuTlbState cpu, int slot, SharedLinks? links, MmContext host, FlushRequest request, out ulong named, out ulong others)
    {
        named = others = 0;
        if (cpu.Slots[slot].Context is null)
            return;
        bool counted = false;
        if (links is not null)
        {
            for (int at = 0; links.TryNext(ref at, host, request.NamedStart, request.NamedEnd, out ulong start, out ulong end); counted = true)
            {
                TranslationCount count = Mmu.Count(vcpu.State, PcidOf(slot), start, end);
                others = counted ? others - count.Inside : count.Outside;
                named += count.Inside;
            }
        }
        if (!counted)
            others = Mmu.Count(vcpu.State, PcidOf(slot), 0, 0).Outside;
    }

    /// <summary>Counts what a vCPU is about to lose when it flushes everything for a request.</summary>
    internal static void CountSharedLoss(Vcpu vcpu, CpuTlbState cpu, SharedFlushRequest request, bool remote)
    {
        ulong named = 0, others = 0;
        for (int slot = 0; slot < CpuTlbState.SlotCount; slot++)
        {
            CountShared(vcpu, cpu, slot, cpu.Slots[slot].Context?.Links, request.Host, request, out ulong inside, out ulong outside);
            (named, others) = (named + inside, others + outside);
        }
        CountLoss(cpu, named, others, remote);
    }

    /// <summary>Leaves out lazy vCPUs, which look at generations by themselves before they use an address space again.</summary>
    internal void DropLazy(ref VcpuMask mask, CpuTlbState counts) => DropUninvolved(ref mask, null, trim: false, counts);

    /// <summary>Has hardware carry out a request on every vCPU, and returns when all have.</summary>
    internal void Broadcast(Vcpu? self, IpiRequest request) => _interProcessor.Call(self, _allVcpus, request);

    private sealed class FlushAllForRequest(in SharedFlush flush) : SharedFlushRequest(flush)
    {
        protected override void Serve(Vcpu target, CpuTlbState cpu, bool remote)
        {
            cpu[ShootdownCounter.FullFlushes]++;
            CountSharedLoss(target, cpu, this, remote);
            Mmu.FlushAll(target.State, includingGlobals: true);
            if (remote)
                NoteFull();
        }
    }
}

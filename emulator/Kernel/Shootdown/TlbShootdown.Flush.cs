using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>Flushes: who is asked, and what each does.</summary>
public sealed unsafe partial class TlbShootdown
{
    private readonly VcpuMask _allVcpus;

    /// <summary>Counts of those who flush without holding a vCPU.</summary>
    private readonly CpuTlbState _outside = new();

    /// <summary>Flushes a whole address space (flush_tlb_mm). Linux asks lazy vCPUs too, whether or not tables are freed.</summary>
    public void FlushMm(Vcpu? self, Mm mm, bool freedTables = true) => FlushMmRange(self, mm, 0, FlushAll, Pfn.Shift, freedTables);

    /// <summary>Flushes one page on every vCPU that may hold it (flush_tlb_page).</summary>
    public void FlushPage(Vcpu? self, Mm mm, ulong address) =>
        FlushMmRange(self, mm, address, address + Pfn.Size, Pfn.Shift, freedTables: false);

    /// <summary>
    /// Makes every vCPU forget [start, end) of an address space, and returns when all that might use it have acknowledged
    /// (flush_tlb_mm_range). vCPUs that do not run it now find out by the generation when they switch to it.
    /// </summary>
    /// <param name="self">The vCPU that the caller holds, if any.</param>
    /// <param name="mm">The address space.</param>
    /// <param name="start">First byte.</param>
    /// <param name="end">First byte behind, or <see cref="FlushAll"/>.</param>
    /// <param name="strideShift">log2 of the pages' size.</param>
    /// <param name="freedTables">Page tables are going away: lazy vCPUs are told too, since a processor may walk tables at any time.</param>
    public void FlushMmRange(Vcpu? self, Mm mm, ulong start, ulong end, int strideShift, bool freedTables)
    {
        Checker.FlushRecord? noted = NoteBegin(self, mm, start, end, strideShift);
        if (mm.Sharing is null)
            (start, end) = FlushCpus(self, mm, start, end, strideShift, freedTables);
        else
            FlushShared(self, mm, start, end, strideShift, freedTables);
        mm.InvalidateSecondaryTlbs(self?.Occupant as Task, start, end);
        NoteDone(noted);
    }

    /// <summary>A fault on purpose: lazy vCPUs are left alone even if tables go. For those who want to see it found.</summary>
    internal bool ForgetsFreedTables { get; set; }

    /// <summary>As <see cref="FlushMmRange"/>, without telling secondary TLBs.</summary>
    /// <returns>The range that was flushed.</returns>
    internal (ulong Start, ulong End) FlushCpus(Vcpu? self, Mm mm, ulong start, ulong end, int strideShift, bool freedTables)
    {
        MmContext context = mm.Context;
        CpuTlbState counts = CountsOf(self);
        counts[ShootdownCounter.Requests]++;
        FlushRequest request = RequestOf(self);
        request.Set(mm, start, end, strideShift, context.RaiseGeneration(), self?.Id ?? -1);
        if (end == FlushAll)
        {
            request.Widen();
        }
        else if ((end - start) >> strideShift > Ceiling)
        {
            request.Widen();
            counts[ShootdownCounter.Widened]++;
        }
        VcpuMask mask = context.Cpus.Snapshot();
        if (HasOthers(mask, self))
        {
            bool trim = Profile != KernelProfile.V6_1 && context.ShouldTrim(NowNs());
            if (!freedTables || ForgetsFreedTables)
                DropUninvolved(ref mask, mm, trim, counts);
            Call(self, mask, request, counts);
        }
        else if (self is not null && _cpus[self.Id].LoadedMm == mm)
        {
            request.Serve(self);
        }
        (start, end) = (request.Start, request.End);
        request.Release();
        return (start, end);
    }

    /// <summary>Tells the checker, if there is one, of a flush that begins or, with a page named, is put off.</summary>
    internal Checker.FlushRecord? NoteBegin(Vcpu? self, Mm mm, ulong start, ulong end, int strideShift, ulong? deferred = null) =>
        Checker?.Flushes.Begin(self?.Occupant as Task, self?.Id ?? -1, mm, mm.Sharing is null ? "" : SharedPolicy.Name, start, end, strideShift, deferred);

    internal void NoteDone(Checker.FlushRecord? noted)
    {
        if (noted is not null)
            Checker!.Flushes.Complete(noted);
    }

    /// <summary>Drops every translation on every vCPU, global ones too (flush_tlb_all). Tells no notifier and raises no generation.</summary>
    public void FlushEverything(Vcpu? self) => _interProcessor.Call(self, _allVcpus, FlushAllRequest.Instance);

    /// <summary>Drops the kernel's translations of [start, end) on every vCPU (flush_tlb_kernel_range). Tells no notifier.</summary>
    public void FlushKernelRange(Vcpu? self, ulong start, ulong end)
    {
        if (end == FlushAll || (end - start) >> Pfn.Shift > Ceiling)
            FlushEverything(self);
        else
            _interProcessor.Call(self, _allVcpus, new FlushKernelRequest(start, end));
    }

    /// <summary>Whether putting the flush off saves an interrupt: another vCPU may hold translations (arch_tlbbatch_should_defer).</summary>
    internal bool ShouldDefer(Vcpu? self, Mm mm) => mm.Sharing is null ? HasOthers(mm.Context.Cpus.Snapshot(), self) : SharedPolicy.ShouldDefer;

    /// <summary>Notes a page whose flush is put off: raises the generation and adds to the mask who must be asked (arch_tlbbatch_add_pending).</summary>
    internal void AddToBatch(Vcpu? self, Mm mm, ref VcpuMask cpus)
    {
        CountsOf(self)[ShootdownCounter.BatchedPages]++;
        mm.Context.RaiseGeneration();
        cpus.Add(mm.Context.Cpus.Snapshot());
    }

    /// <summary>Flushes on every vCPU of a batch whichever address space it has loaded, and empties the mask (arch_tlbbatch_flush).</summary>
    /// <param name="self">The vCPU that the caller holds, if any.</param>
    /// <param name="cpus">The mask.</param>
    /// <param name="freedTables">Lazy vCPUs are asked, too. Linux never does this: it frees no tables by batches.</param>
    /// <param name="about">The flush of shared tables that the batch is made for, so that losses can be told apart.</param>
    internal void FlushBatch(Vcpu? self, ref VcpuMask cpus, bool freedTables = false, SharedFlush? about = null)
    {
        CpuTlbState counts = CountsOf(self);
        counts[ShootdownCounter.BatchFlushes]++;
        FlushRequest request = RequestOf(self);
        request.Set(null, about?.Start ?? 0, about?.End ?? FlushAll, Pfn.Shift, 0, self?.Id ?? -1);
        request.Widen();
        request.About = about?.Host.Context;
        if (HasOthers(cpus, self))
        {
            if (!freedTables || ForgetsFreedTables)
                DropUninvolved(ref cpus, null, trim: false, counts);
            Call(self, cpus, request, counts);
        }
        else if (self is not null && cpus.Contains(self.Id))
        {
            request.Serve(self);
        }
        request.About = null;
        cpus = default;
    }

    /// <summary>Counts something that a caller did.</summary>
    internal void Note(Vcpu? self, ShootdownCounter counter) => CountsOf(self)[counter]++;

    internal CpuTlbState CountsOf(Vcpu? self) => self is null ? _outside : _cpus[self.Id];

    private FlushRequest RequestOf(Vcpu? self) => self is null ? new FlushRequest(this) : _requests[self.Id];

    private static bool HasOthers(VcpuMask mask, Vcpu? self)
    {
        if (self is not null)
            mask.Remove(self.Id);
        return !mask.IsEmpty;
    }

    internal void Call(Vcpu? self, in VcpuMask mask, FlushRequest request, CpuTlbState counts)
    {
        if (mask.IsEmpty)
            return;
        int others = mask.Count - (self is not null && mask.Contains(self.Id) ? 1 : 0);
        _interProcessor.Call(self, mask, request);
        if (others == 0)
            return;
        counts[ShootdownCounter.IpisSent] += (ulong)others;
        request.CountWait(counts);
    }

    /// <summary>
    /// Leaves out who need not be interrupted (should_flush_tlb; tlb_is_not_lazy in 6.1): a lazy vCPU looks at the generation by itself, and
    /// so does one that has another address space loaded. Every second the latter are told all the same, and leave the mask.
    /// </summary>
    private void DropUninvolved(ref VcpuMask mask, Mm? mm, bool trim, CpuTlbState counts)
    {
        for (int id = mask.Next(0); id >= 0; id = mask.Next(id + 1))
        {
            CpuTlbState cpu = _cpus[id];
            if (cpu.IsLazy)
            {
                mask.Remove(id);
                counts[ShootdownCounter.SkippedLazy]++;
            }
            else if (mm is not null && !trim && Profile != KernelProfile.V6_1 && !cpu.IsSwitching && cpu.LoadedMm != mm)
            {
                mask.Remove(id);
                counts[ShootdownCounter.SkippedNotLoaded]++;
            }
        }
    }

    /// <summary>The work of one target (flush_tlb_func).</summary>
    internal void Serve(Vcpu vcpu, FlushRequest request)
    {
        CpuTlbState cpu = _cpus[vcpu.Id];
        Mm? loaded = cpu.LoadedMm;
        bool remote = vcpu.Id != request.Initiator;
        if (remote)
        {
            cpu[ShootdownCounter.IpisReceived]++;
            if (request.Mm is { } asked && asked != loaded)
            {
                CountVain(cpu, ShootdownCounter.NothingNotLoaded, remote);
                if (Profile != KernelProfile.V6_1)
                {
                    asked.Context.Cpus.RemoveAtomic(vcpu.Id);
                    cpu[ShootdownCounter.MaskTrimmed]++;
                }
                return;
            }
        }
        if (loaded is null)
        {
            CountVain(cpu, ShootdownCounter.NothingNotLoaded, remote);
            return;
        }
        if (cpu.IsLazy)
        {
            CountVain(cpu, ShootdownCounter.NothingLazy, remote);
            SwitchToKernel(vcpu);
            return;
        }
        ref CpuTlbState.Slot slot = ref cpu.Slots[cpu.LoadedSlot];
        ulong current = loaded.Context.Generation;
        // A batch has no generation of its own: that was raised when each page was added, be it the address space's or a host's.
        bool reached = request.Mm is null ? current == slot.Generation && !slot.IsBehind(loaded.Context.Links) : current == slot.Generation || request.Generation <= slot.Generation;
        if (reached)
        {
            CountVain(cpu, ShootdownCounter.NothingGeneration, remote);
            return;
        }
        if (request.End != FlushAll && request.Generation == slot.Generation + 1 && request.Generation == current)
        {
            FlushPages(vcpu, cpu, request, remote);
            slot.Generation = current;
        }
        else
        {
            Update(ref slot, loaded.Context);
            FlushFully(vcpu, cpu, loaded, request, remote);
        }
    }

    /// <summary>An interrupt changed nothing; the initiator's own part is no interrupt.</summary>
    internal static void CountVain(CpuTlbState cpu, ShootdownCounter why, bool remote)
    {
        if (!remote)
            return;
        cpu[why]++;
        cpu[ShootdownCounter.Useless]++;
    }

    /// <summary>Counts what a flush is about to take, or has taken, from a vCPU.</summary>
    /// <param name="named">Translations that the request was about.</param>
    /// <param name="others">Those that went with them.</param>
    internal static void CountLoss(CpuTlbState cpu, ulong named, ulong others, bool remote)
    {
        cpu[ShootdownCounter.EntriesLost] += named + others;
        cpu[ShootdownCounter.Collateral] += others;
        if (remote && named == 0)
            cpu[ShootdownCounter.Useless]++;
    }

    private static void FlushPages(Vcpu vcpu, CpuTlbState cpu, FlushRequest request, bool remote)
    {
        int pages = 0;
        ulong lost = 0;
        for (ulong address = request.Start; address < request.End; address += 1UL << request.StrideShift, pages++)
            lost += Mmu.InvalidatePage(vcpu.State, address) ? 1UL : 0;
        cpu[ShootdownCounter.PageFlushes] += (ulong)pages;
        CountLoss(cpu, lost, 0, remote);
        request.NotePages(pages, remote);
    }

    private static void FlushFully(Vcpu vcpu, CpuTlbState cpu, Mm loaded, FlushRequest request, bool remote)
    {
        cpu[ShootdownCounter.FullFlushes]++;
        if (request.About is { } host)
        {
            CountShared(vcpu, cpu, cpu.LoadedSlot, loaded.Context.Links, host, request, out ulong named, out ulong others);
            CountLoss(cpu, named, others, remote);
        }
        else
        {
            TranslationCount count = Mmu.Count(vcpu.State, PcidOf(cpu.LoadedSlot), request.NamedStart, request.NamedEnd);
            CountLoss(cpu, count.Inside, count.Outside, remote);
        }
        Load(vcpu, loaded.Root, cpu.LoadedSlot, keepEntries: false);
        if (remote)
            request.NoteFull();
    }

    private sealed class FlushAllRequest : IpiRequest
    {
        public static readonly FlushAllRequest Instance = new();

        public override void Serve(Vcpu target) => Mmu.FlushAll(target.State, includingGlobals: true);
    }

    private sealed class FlushKernelRequest(ulong start, ulong end) : IpiRequest
    {
        public override void Serve(Vcpu target)
        {
            for (ulong address = start; address < end; address += Pfn.Size)
                Mmu.InvalidatePage(target.State, address);
        }
    }
}

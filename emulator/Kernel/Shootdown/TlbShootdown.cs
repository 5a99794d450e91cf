using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>
/// Which TLBs to flush, and when (arch/x86/mm/tlb.c). Each address space has a generation that every flush request raises; each vCPU
/// knows, for each of its PCID slots, which address space the slot holds and up to which generation it has flushed. Only this class loads
/// CR3 and flushes TLBs, and only on the vCPU's own thread or under its permit.
/// </summary>
public sealed unsafe class TlbShootdown
{
    /// <summary>Flush everything rather than page by page when a range has more pages (tlb_single_page_flush_ceiling).</summary>
    public const ulong DefaultCeiling = 33;

    /// <summary>The end of a range that means "all of it".</summary>
    public const ulong FlushAll = ulong.MaxValue;

    private readonly InterProcessor _interProcessor;
    private readonly CpuTlbState[] _cpus;
    private readonly FlushRequest[] _requests;
    private long _lastContextId;

    /// <param name="vcpus">The machine's vCPUs.</param>
    /// <param name="interProcessor">By which they interrupt each other.</param>
    /// <param name="kernelRoot">A root table without user mappings, loaded where no address space is.</param>
    public TlbShootdown(IReadOnlyList<Vcpu> vcpus, InterProcessor interProcessor, Pfn kernelRoot)
    {
        _interProcessor = interProcessor;
        KernelRoot = kernelRoot;
        _cpus = new CpuTlbState[vcpus.Count];
        _requests = new FlushRequest[vcpus.Count];
        foreach (Vcpu vcpu in vcpus)
        {
            _cpus[vcpu.Id] = new CpuTlbState();
            _requests[vcpu.Id] = new FlushRequest(this);
            Mmu.LoadCr3(vcpu.State, kernelRoot, 0, noFlush: false);
        }
    }

    public Pfn KernelRoot { get; }

    /// <summary>The Linux release that is followed where releases differ.</summary>
    public KernelProfile Profile { get; set; } = KernelProfile.V6_12;

    /// <summary>See <see cref="DefaultCeiling"/>; 0 disables flushing page by page.</summary>
    public ulong Ceiling { get; set; } = DefaultCeiling;

    /// <summary>A name for a new address space, never given out before.</summary>
    internal ulong NextContextId() => (ulong)Interlocked.Increment(ref _lastContextId);

    internal CpuTlbState StateOf(int vcpu) => _cpus[vcpu];

    /// <summary>Makes the caller's vCPU run in an address space (switch_mm_irqs_off). The caller holds the vCPU.</summary>
    public void SwitchMm(Vcpu vcpu, Mm next)
    {
        CpuTlbState cpu = _cpus[vcpu.Id];
        Mm? previous = cpu.LoadedMm;
        MmContext context = next.Context;
        if (previous == next)
        {
            if (!cpu.IsLazy)
                return;
            // Partner: the generation's increment in FlushMmRange, which is followed by its look at IsLazy.
            cpu.LeaveLazy();
            ulong generation = context.Generation;
            ref CpuTlbState.Slot current = ref cpu.Slots[cpu.LoadedSlot];
            if (current.Generation == generation)
                return;
            current.Generation = generation;
            Load(vcpu, next.Root, cpu.LoadedSlot, keepEntries: false);
            return;
        }

        next.GetContext();
        cpu.BeginSwitch();
        if (previous is not null)
            previous.Context.Cpus.RemoveAtomic(vcpu.Id);
        // Partner: FlushMmRange raises the generation and then reads the mask; we enter the mask and then read the generation.
        context.Cpus.AddAtomic(vcpu.Id);
        cpu.LeaveLazy();
        bool keep = ChooseSlot(cpu, context, out int slot);
        Load(vcpu, next.Root, slot, keep);
        cpu.EndSwitch(next, slot);
        previous?.PutContext();
    }

    /// <summary>
    /// The vCPU has nothing to run: it keeps its address space loaded but will look at the generation before it uses it again, so
    /// flushes need not interrupt it (enter_lazy_tlb).
    /// </summary>
    public void EnterLazy(Vcpu vcpu)
    {
        if (_cpus[vcpu.Id].LoadedMm is not null)
            _cpus[vcpu.Id].EnterLazy();
    }

    /// <summary>Leaves the address space for the kernel's own, which maps nothing (switch_mm to init_mm).</summary>
    public void SwitchToKernel(Vcpu vcpu)
    {
        CpuTlbState cpu = _cpus[vcpu.Id];
        if (cpu.LoadedMm is not { } previous)
            return;
        cpu.BeginSwitch();
        previous.Context.Cpus.RemoveAtomic(vcpu.Id);
        cpu.LeaveLazy();
        Mmu.LoadCr3(vcpu.State, KernelRoot, 0, noFlush: false);
        cpu.EndSwitch(null, 0);
        previous.PutContext();
    }

    /// <summary>True: the slot's entries are up to date and may be kept.</summary>
    private static bool ChooseSlot(CpuTlbState cpu, MmContext context, out int slot)
    {
        ulong generation = context.Generation;
        for (slot = 0; slot < CpuTlbState.SlotCount; slot++)
        {
            ref CpuTlbState.Slot candidate = ref cpu.Slots[slot];
            if (candidate.ContextId != context.Id)
                continue;
            bool fresh = candidate.Generation >= generation;
            candidate.Generation = generation;
            return fresh;
        }
        slot = cpu.TakeNextSlot();
        cpu.Slots[slot] = new CpuTlbState.Slot { ContextId = context.Id, Generation = generation };
        return false;
    }

    private static void Load(Vcpu vcpu, Pfn root, int slot, bool keepEntries) =>
        // PCID 0 is the kernel's own (kern_pcid: slot + 1).
        Mmu.LoadCr3(vcpu.State, root, (ushort)(slot + 1), keepEntries);

    /// <summary>Flushes a whole address space (flush_tlb_mm).</summary>
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
        if (end == FlushAll || (end - start) >> strideShift > Ceiling)
            (start, end) = (0, FlushAll);
        MmContext context = mm.Context;
        ulong generation = context.RaiseGeneration();
        VcpuMask mask = context.Cpus.Snapshot();
        FlushRequest request = self is null ? new FlushRequest(this) : _requests[self.Id];
        request.Set(mm, start, end, strideShift, generation, self?.Id ?? -1);
        if (HasOthers(mask, self))
        {
            if (!freedTables)
                DropUninvolved(ref mask, mm);
            if (!mask.IsEmpty)
                _interProcessor.Call(self, mask, request);
        }
        else if (self is not null && _cpus[self.Id].LoadedMm == mm)
        {
            request.Serve(self);
        }
        request.Release();
    }

    /// <summary>Whether putting the flush off saves an interrupt: another vCPU may hold translations (arch_tlbbatch_should_defer).</summary>
    internal bool ShouldDefer(Vcpu? self, Mm mm) => HasOthers(mm.Context.Cpus.Snapshot(), self);

    /// <summary>Flushes on every vCPU of a batch whichever address space it has loaded, and empties the mask (arch_tlbbatch_flush).</summary>
    internal void FlushBatch(Vcpu? self, ref VcpuMask cpus)
    {
        FlushRequest request = self is null ? new FlushRequest(this) : _requests[self.Id];
        request.Set(null, 0, FlushAll, Pfn.Shift, 0, self?.Id ?? -1);
        if (HasOthers(cpus, self))
        {
            DropUninvolved(ref cpus, null);
            if (!cpus.IsEmpty)
                _interProcessor.Call(self, cpus, request);
        }
        else if (self is not null && cpus.Contains(self.Id))
        {
            request.Serve(self);
        }
        cpus = default;
    }

    private static bool HasOthers(VcpuMask mask, Vcpu? self)
    {
        if (self is not null)
            mask.Remove(self.Id);
        return !mask.IsEmpty;
    }

    /// <summary>should_flush_tlb: a lazy vCPU looks at the generation by itself; one that has left for another address space, too.</summary>
    private void DropUninvolved(ref VcpuMask mask, Mm? mm)
    {
        for (int id = mask.Next(0); id >= 0; id = mask.Next(id + 1))
        {
            CpuTlbState cpu = _cpus[id];
            if (cpu.IsLazy || (mm is not null && !cpu.IsSwitching && cpu.LoadedMm != mm))
                mask.Remove(id);
        }
    }

    /// <summary>The work of one target (flush_tlb_func).</summary>
    internal void Serve(Vcpu vcpu, FlushRequest request)
    {
        CpuTlbState cpu = _cpus[vcpu.Id];
        Mm? loaded = cpu.LoadedMm;
        if (loaded is null || (vcpu.Id != request.Initiator && request.Mm is not null && request.Mm != loaded))
            return;
        if (cpu.IsLazy)
        {
            SwitchToKernel(vcpu);
            return;
        }
        ref CpuTlbState.Slot slot = ref cpu.Slots[cpu.LoadedSlot];
        // A batch has no generation of its own: it was raised when each page was added.
        if (request.Generation != 0 && request.Generation <= slot.Generation)
            return;
        ulong current = loaded.Context.Generation;
        if (current == slot.Generation)
            return;
        if (request.End != FlushAll && request.Generation == slot.Generation + 1 && request.Generation == current)
        {
            for (ulong address = request.Start; address < request.End; address += 1UL << request.StrideShift)
                Mmu.InvalidatePage(vcpu.State, address);
        }
        else
        {
            Load(vcpu, loaded.Root, cpu.LoadedSlot, keepEntries: false);
        }
        slot.Generation = current;
    }
}

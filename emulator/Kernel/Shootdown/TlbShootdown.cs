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
/// <remarks>In bounds: arrays go by vCPU and slot, which no guest names. Its addresses are looked up in TLBs and lead nowhere; a loop over pages has no more turns than the ceiling.</remarks>
public sealed unsafe partial class TlbShootdown
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
        _allVcpus = VcpuMask.First(vcpus.Count);
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

    /// <summary>
    /// A vCPU that switches away stays in the address space's mask until an interrupt finds it there in vain, as in Linux after 6.14. In the
    /// releases of the profiles it leaves the mask at the switch.
    /// </summary>
    public bool LeavesMaskLazily { get; set; }

    /// <summary>Nanoseconds since the machine was made, for the trimming of masks once a second.</summary>
    public Func<long> NowNs { get; set; } = static () => 0;

    /// <summary>Who notes flushes and their completion, or null.</summary>
    internal Checker.CoherenceChecker? Checker { get; set; }

    internal MmContext NewContext() => new((ulong)Interlocked.Increment(ref _lastContextId), NowNs());

    internal CpuTlbState StateOf(int vcpu) => _cpus[vcpu];

    /// <summary>A counter's value on one vCPU.</summary>
    public ulong Count(ShootdownCounter counter, int vcpu) => _cpus[vcpu][counter];

    /// <summary>A counter's sum over the vCPUs and those who flush without holding one.</summary>
    public ulong Total(ShootdownCounter counter)
    {
        ulong sum = _outside[counter];
        foreach (CpuTlbState cpu in _cpus)
            sum += cpu[counter];
        return sum;
    }

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
            if (Update(ref cpu.Slots[cpu.LoadedSlot], context))
                return;
            cpu[ShootdownCounter.SwitchFlushes]++;
            Load(vcpu, next.Root, cpu.LoadedSlot, keepEntries: false);
            return;
        }

        next.GetContext();
        cpu.BeginSwitch();
        LeaveMask(previous, vcpu);
        // Partner: FlushMmRange raises the generation and then reads the mask; we enter the mask and then read the generation.
        context.Cpus.AddAtomic(vcpu.Id);
        cpu.LeaveLazy();
        if (context.Links is { } links)
            SharedPolicy.Entered(vcpu, links);
        bool keep = ChooseSlot(cpu, context, out int slot);
        cpu[keep ? ShootdownCounter.SwitchKept : ShootdownCounter.SwitchFlushes]++;
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
        LeaveMask(previous, vcpu);
        cpu.LeaveLazy();
        Mmu.LoadCr3(vcpu.State, KernelRoot, 0, noFlush: false);
        cpu.EndSwitch(null, 0);
        previous.PutContext();
    }

    private void LeaveMask(Mm? mm, Vcpu vcpu)
    {
        if (!LeavesMaskLazily)
            mm?.Context.Cpus.RemoveAtomic(vcpu.Id);
    }

    /// <summary>True: the slot's entries are up to date and may be kept.</summary>
    private static bool ChooseSlot(CpuTlbState cpu, MmContext context, out int slot)
    {
        for (slot = 0; slot < CpuTlbState.SlotCount; slot++)
        {
            if (cpu.Slots[slot].Context == context)
                return Update(ref cpu.Slots[slot], context);
        }
        slot = cpu.TakeNextSlot();
        cpu.Slots[slot] = new CpuTlbState.Slot { Context = context };
        Update(ref cpu.Slots[slot], context);
        return false;
    }

    /// <summary>Notes that a slot is up to date with what is true now; false: it was not, and is flushed after this.</summary>
    private static bool Update(ref CpuTlbState.Slot slot, MmContext context)
    {
        ulong generation = context.Generation;
        bool fresh = slot.Generation >= generation;
        slot.Generation = generation;
        SharedLinks? links = context.Links;
        if (links is not null || slot.Links is not null)
        {
            ulong shared = links?.Generation ?? 0;
            fresh &= links == slot.Links && shared == slot.SharedGeneration;
            (slot.Links, slot.SharedGeneration) = (links, shared);
        }
        return fresh;
    }

    private static void Load(Vcpu vcpu, Pfn root, int slot, bool keepEntries) => Mmu.LoadCr3(vcpu.State, root, PcidOf(slot), keepEntries);

    /// <summary>PCID 0 is the kernel's own (kern_pcid).</summary>
    internal static ushort PcidOf(int slot) => (ushort)(slot + 1);
}

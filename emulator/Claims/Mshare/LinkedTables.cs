using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>
/// An address space without a task, and sharers that have its top-level entry: what RFC v3 makes, without the file around it, so that one flush can be tried
/// by itself. Each page is a mapping of its own, so that unmapping it in the host frees it.
/// </summary>
internal sealed unsafe class LinkedTables
{
    /// <summary>Where the tables are, in all address spaces.</summary>
    public const ulong Start = 0x200_0000_0000;

    private readonly Stage _stage;
    private readonly List<Actor> _sharers = [];

    /// <param name="stage">Where it is.</param>
    /// <param name="pages">How many the host maps and fills.</param>
    /// <param name="privately">All pages are one mapping of private memory, which mshare does not offer: they have no owner but their entries.</param>
    public LinkedTables(Stage stage, int pages, bool privately = false)
    {
        _stage = stage;
        Host = Mm.Create(stage.Machine.MemorySystem)!;
        int each = privately ? pages : 1, kind = privately ? MAP_PRIVATE : MAP_SHARED;
        for (int i = 0; i < pages; i++)
        {
            if (i % each == 0)
                Host.Mmap(stage.Task, Address(i), (ulong)each << Pfn.Shift, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS | MAP_FIXED, null, 0);
            Claim.Require(Host.WriteMemory(stage.Task, Address(i), [(byte)(i + 1)]) == 1, "the host cannot be filled");
        }
    }

    public Mm Host { get; }

    public IReadOnlyList<Actor> Sharers => _sharers;

    public static ulong Address(int page) => Start + ((ulong)page << Pfn.Shift);

    public FrameTag Tag(int page) => Memory.Tag(_stage, Host, Address(page));

    /// <summary>Lets an actor share, and read the first page.</summary>
    public void Link(Actor actor)
    {
        Volatile.Write(ref *TopEntry(actor.Mm), *TopEntry(Host));
        _sharers.Add(actor);
        Claim.Require(actor.Read(Address(0)).Finding == Finding.Coherent, $"{actor.Name} does not see the shared page");
    }

    /// <summary>
    /// Unmaps a page in the host: by an actor, as if an ioctl asked for it. The kernel clears the entry, flushes the host address space, which calls the notifiers of secondary TLBs,
    /// and frees the frame.
    /// </summary>
    /// <param name="actor">Who does it.</param>
    /// <param name="page">Which.</param>
    /// <param name="flush">What is done at the flush, between clearing and freeing; null: nothing but the flush itself.</param>
    public void Remove(Actor actor, int page, Action<Vcpu>? flush = null)
    {
        var notifier = new Probe { Flush = (task, _, _) => flush?.Invoke(task!.Vcpu!) };
        actor.Do(task =>
        {
            notifier.Register(task, Host);
            Host.Munmap(task, Address(page), Pfn.Size);
            notifier.Unregister(task);
        });
    }

    /// <summary>Unlinks everybody and ends the host.</summary>
    public void End()
    {
        foreach (Actor sharer in _sharers)
        {
            Volatile.Write(ref *TopEntry(sharer.Mm), 0);
            sharer.Do(task => _stage.Machine.MemorySystem.Shootdown.FlushMm(task.Vcpu, sharer.Mm));
        }
        Host.Put(_stage.Task);
    }

    private ulong* TopEntry(Mm mm) => (ulong*)_stage.Machine.Memory.Pointer(mm.Root) + PageTable.Index(Start, PageTable.RootLevel);

    /// <summary>Interrupts vCPUs with a request of the kernel's own form.</summary>
    /// <param name="self">The initiator.</param>
    /// <param name="mm">The address space that it names; null: whichever is loaded.</param>
    /// <param name="page">What it is about.</param>
    /// <param name="generation">The generation that it says it raised; 0: none.</param>
    public void Request(Vcpu self, Mm? mm, int page, ulong generation)
    {
        var request = new FlushRequest(_stage.Machine.MemorySystem.Shootdown);
        if (mm is null)
            request.Set(null, 0, TlbShootdown.FlushAll, Pfn.Shift, 0, self.Id);
        else
            request.Set(mm, Address(page), Address(page + 1), Pfn.Shift, generation, self.Id);
        _stage.Machine.Platform.InterProcessor.Call(self, UnionMask(), request);
        request.Release();
    }

    /// <summary>The union of the sharers' cpumasks.</summary>
    public VcpuMask UnionMask()
    {
        VcpuMask mask = default;
        foreach (Actor sharer in _sharers)
            mask.Add(sharer.Mm.Context.Cpus.Snapshot());
        return mask;
    }

    /// <summary>inc_mm_tlb_gen on every sharer.</summary>
    public void RaiseGenerations()
    {
        foreach (Actor sharer in _sharers)
            sharer.Mm.Context.RaiseGeneration();
    }

    /// <summary>INVLPG of a page on each vCPU that has a sharer loaded now, without a word in any generation.</summary>
    public void InterruptLoaded(Vcpu self, int page)
    {
        VcpuMask loaded = default;
        foreach (Vcpu vcpu in _stage.Machine.Platform.Vcpus)
        {
            if (_sharers.Any(s => s.Mm == _stage.Machine.MemorySystem.Shootdown.StateOf(vcpu.Id).LoadedMm))
                loaded.Add(vcpu.Id);
        }
        _stage.Machine.Platform.InterProcessor.Call(self, loaded, new InvalidatePageRequest(Address(page)));
    }

    private sealed class InvalidatePageRequest(ulong address) : IpiRequest
    {
        public override void Serve(Vcpu target) => Mmu.InvalidatePage(target.State, address);
    }
}

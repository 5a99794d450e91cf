using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// What a driver's file maps: frames by number (VM_PFNMAP), which the driver puts into the tables at faults and takes out again when it likes. The
/// entries hold no references, so whoever takes them, GUP or a mirror, is refused.
/// </summary>
internal abstract class DeviceMapping : PageCache
{
    /// <param name="pages">The machine's frames.</param>
    /// <param name="bytes">How much there is to map.</param>
    /// <param name="mappings">The class of the lock of its mappings, if it is a driver's own.</param>
    protected DeviceMapping(PageAllocator pages, ulong bytes, LockClass? mappings = null)
        : base(pages, mappings ?? LockClass.DeviceMappingsLock) => Size = bytes;

    protected override PageFlags FrameFlags => PageFlags.None;

    /// <summary>The file has no pages of its own.</summary>
    internal override long GetPage(Task? task, ulong index, bool create, out Pfn frame, bool zero = false)
    {
        frame = default;
        return -Errno.ENOENT;
    }

    /// <summary>A private mapping would copy pages that belong to nobody.</summary>
    internal override long CheckMapping(ref VmFlags flags)
    {
        if ((flags & (VmFlags.Shared | VmFlags.MayShare)) == 0)
            return -Errno.EINVAL;
        flags |= VmFlags.PfnMap | VmFlags.DontExpand | VmFlags.DontDump;
        return 0;
    }

    /// <summary>dma_buf_mmap_internal: nothing beyond the end.</summary>
    internal override long CheckRange(ulong first, ulong pages) => first + pages > Size >> Pfn.Shift ? -Errno.EINVAL : 0;

    /// <summary>
    /// An access found no entry (vm_ops.fault): if the page is at hand, calls <see cref="Mm.InsertPfn"/> under a lock that excludes
    /// <see cref="Zap"/> of the page. The mmap lock is held, so nothing may be waited for that takes one.
    /// </summary>
    /// <returns>Done; BusError; or Retry, to have <see cref="Prepare"/> called without locks and the access made again.</returns>
    internal abstract FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong index, bool write);

    /// <summary>Gets a page ready for the next <see cref="Fault"/>; holds no lock.</summary>
    /// <returns>Retry, or why there is nothing to try: BusError, OutOfMemory.</returns>
    internal virtual FaultOutcome Prepare(Task? task, ulong index, bool write) => FaultOutcome.BusError;

    /// <summary>Entries may be read-only in a mapping that is not, and the driver decides when they become writable (vm_ops.pfn_mkwrite).</summary>
    internal virtual bool AsksBeforeWrites => false;

    /// <summary>Takes the pages [first, last] out of all mappings (zap_vma_ptes, unmap_mapping_range).</summary>
    public void Zap(Task? task, ulong first, ulong last) => UnmapMappingRange(task, first, last, evenCopies: true);
}

/// <summary>A fault that waits outside of the address space's locks: what was mapped is kept meanwhile, whoever unmaps it.</summary>
internal readonly struct PendingFault
{
    private readonly DeviceMapping _mapping;
    private readonly OpenFile? _file;
    private readonly ulong _index;
    private readonly bool _write;

    public PendingFault(Vma vma, ulong address, bool write)
    {
        _write = write;
        _mapping = (DeviceMapping)vma.Cache!;
        _mapping.GetUser();
        _file = vma.File?.Get();
        _index = vma.IndexOf(address);
    }

    public FaultOutcome Prepare(Task? task)
    {
        FaultOutcome outcome = _mapping.Prepare(task, _index, _write);
        _mapping.PutUser();
        _file?.Put();
        return outcome;
    }
}

/// <summary>Frames of drivers in address spaces.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>A fault in a mapping of a driver's frames.</summary>
    private FaultOutcome FaultPfn(Task? task, Vma vma, ulong address, FaultFlags flags)
    {
        var mapping = (DeviceMapping)vma.Cache!;
        bool write = (flags & FaultFlags.Write) != 0;
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.FindOrCreate(address);
            if (entry is null)
                return FaultOutcome.OutOfMemory;
            bool asks = write && mapping.AsksBeforeWrites && (*entry & (ulong)Pte.Writable) == 0;
            if (*entry != 0 && !asks)
            {
                // The mapping allows the access: it has become writable since.
                if (write)
                    PageTables.Modify(entry, Pte.None, WriteBits(vma) | Pte.Accessed);
                _system.Faults.Count(FaultKind.Spurious);
                return FaultOutcome.Done;
            }
        }
        return mapping.Fault(task, vma, address, vma.IndexOf(address), write);
    }

    /// <summary>
    /// Maps a frame without taking a reference (vmf_insert_pfn); for <see cref="DeviceMapping.Fault"/> only, whose caller has made the table, so
    /// that nothing is allocated here. An entry that maps the frame already may become writable.
    /// </summary>
    internal void InsertPfn(Task? task, Vma vma, ulong address, Pfn frame, bool writable = true)
    {
        Pte rights = writable && (vma.Flags & VmFlags.Write) != 0 ? WriteBits(vma) : Pte.None;
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.Find(address);
            if (*entry == 0)
                PageTables.Set(entry, frame.Address | (ulong)(BitsOf(vma.Flags) | PageTables.Special | rights));
            else if (PageTables.FrameOf(*entry) == frame && rights != Pte.None)
                PageTables.Modify(entry, Pte.None, rights | Pte.Accessed);
        }
        _system.Faults.Count(FaultKind.File);
    }
}

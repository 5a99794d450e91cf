using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// The RFC "udmabuf: Replace pages when there is FALLOC_FL_PUNCH_HOLE in memfd" of 18 July 2023, as posted: a notifier of the maker's address space replaces pages
/// when faults there map others. It is wrong in what it does not hear of (see <see cref="MmuNotifier.UpdateMapping"/>), and in what it does:
/// </summary>
/// <remarks>
/// Mappings that devices have are kept, while the pages in them are given back. A buffer whose maker maps no file of it cannot be made (-EINVAL, left over from
/// another check). The address in a huge page is used as if it told 4 KiB pages. Its loop over entries of the same page may run past the end of the
/// list, which here is where it stops. The lock is made after the notifier may have been called, and pages are given back before it is unregistered;
/// those two are not repeated.
/// </remarks>
internal sealed class UpdateMappingUdmabuf : Udmabuf
{
    private static readonly LockClass LockClass = new("udmabuf.mn_lock");

    /// <summary>The pages as the RFC has them: of hugetlb the first frame of the huge page.</summary>
    private readonly Pfn[] _pages;

    private readonly ulong[] _offsets;
    private readonly ulong[] _starts;
    private readonly Mutex _lock = new(LockClass);
    private Notifier? _notifier;

    public UpdateMappingUdmabuf(Machine machine, UdmabufItem[] items)
        : base(machine, items)
    {
        _pages = new Pfn[PageCount];
        _offsets = new ulong[PageCount];
        _starts = new ulong[items.Length];
    }

    public override bool CachesMappings => true;

    public override int Populate(Task task)
    {
        for (ulong page = 0; page < PageCount; page++)
        {
            int error = Lookup(task, page, FillsHuge, out Pfn frame);
            if (error != 0)
                return error;
            _pages[page] = Pages.HeadOf(frame);
            _offsets[page] = frame.Value - _pages[page].Value;
        }
        for (int i = 0; i < Items.Length; i++)
        {
            if (!UdmabufPlaces.TryFind(task, task.Mm, Items[i], out _starts[i]))
                return -Errno.EINVAL;
        }
        _notifier = new Notifier(this);
        return _notifier.Register(task, task.Mm);
    }

    private Pfn FrameOf(ulong page) => new(_pages[page].Value + _offsets[page]);

    public override FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong page)
    {
        Pfn frame;
        using (_lock.Enter(task))
            frame = FrameOf(page);
        vma.Mm.InsertPfn(task, vma, address, frame);
        return FaultOutcome.Done;
    }

    public override int Map(Task? task, DmaBufAttachment attachment, DmaDirection direction, out SgTable? table)
    {
        using Mutex.Scope scope = _lock.Enter(task);
        var frames = new Pfn[PageCount];
        for (ulong page = 0; page < PageCount; page++)
            frames[page] = FrameOf(page);
        table = MakeTable(frames, direction);
        return 0;
    }

    public override void Unmap(Task? task, DmaBufAttachment attachment, SgTable table)
    {
    }

    /// <summary>update_udmabuf.</summary>
    private void Update(Task? task, ulong address, Pfn frame)
    {
        int i = 0;
        while (i < Items.Length && (address < _starts[i] || address >= _starts[i] + (Items[i].Pages << Pfn.Shift)))
            i++;
        if (i == Items.Length)
            return;
        int shift = Items[i].File is HugeTlbPageCache huge ? huge.Pool.Shift : Pfn.Shift;
        ulong first = Items[i].Start + ((address - _starts[i]) >> shift), page = first;
        using (_lock.Enter(task))
        {
            Pfn old = _pages[page];
            do
            {
                _pages[page] = frame;
                // Of anything but a huge page there is nothing behind the frame that would be the buffer's.
                if ((Pages[frame].Flags & PageFlags.Head) == 0)
                    _offsets[page] = 0;
                Pages.Get(frame);
                Pages.Put(old);
            }
            while (++page < PageCount && _pages[page] == old);
        }
        ulong zapped = Items[i].Start + ((address - _starts[i]) >> Pfn.Shift);
        Area.Zap(task, zapped, zapped + (page - first) - 1);
    }

    public override void Release(Task? task)
    {
        _notifier?.Unregister(task);
        foreach (Pfn page in _pages)
        {
            if (page != default)
                Pages.Put(page);
        }
        base.Release(task);
    }

    private sealed class Notifier(UpdateMappingUdmabuf buffer) : MmuNotifier
    {
        public override MmuNotifierOps Ops => MmuNotifierOps.UpdateMapping;

        public override void UpdateMapping(Task? task, Mm mm, ulong address, Pfn frame) => buffer.Update(task, address, frame);
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// A part of another process's address space, the <em>window</em>, as a driver maps it (Jérôme Glisse, 2 October 2019): frames by number, which
/// hmm_range_fault finds and an interval notifier takes away. The memory management of either side knows nothing of it.
/// </summary>
/// <remarks>
/// <para>His sketch enters a page if the range is <em>not</em> valid, and begins again if it is; here it is the other way round.</para>
/// <para>
/// Locks: the target's are never waited for with the client's held, so processes may mirror each other. A fault that finds nothing in the
/// table lets go of everything (<see cref="FaultOutcome.Retry"/>), asks the target, and is made again. In turn a change of the target takes
/// pages out of the client's mappings without <see cref="_guard"/>, because that is announced to the client's own mirrors: the range is on
/// <see cref="_leaving"/> meanwhile, where faults see it, and its entries stay in the table until it is done, so that whoever changes the same
/// pages at the same time does not take them for unmapped already.
/// </para>
/// </remarks>
internal sealed class RemoteMirror : MmuIntervalNotifier
{
    private static readonly LockClass GuardClass = new("remote_mirror_lock");

    private readonly Machine _machine;
    private readonly Mm _target;
    private readonly ulong _start;
    private readonly Mutex _guard = new(GuardClass);

    /// <summary>Pages of the target, by their number in the window. Under the guard.</summary>
    private readonly MirrorTable _table;

    private readonly List<(ulong First, ulong Last)> _leaving = [];
    private RemoteMirrorStats _stats;

    /// <param name="machine">The machine.</param>
    /// <param name="client">Who mirrors: nobody else is shown anything.</param>
    /// <param name="target">Who is mirrored.</param>
    /// <param name="start">Where the window is in the target.</param>
    /// <param name="length">Its size.</param>
    public RemoteMirror(Machine machine, Mm client, Mm target, ulong start, ulong length)
    {
        _machine = machine;
        Client = client;
        _target = target;
        _start = start;
        _table = new MirrorTable(machine.KernelMemory);
        Mapping = new RemoteMirrorMapping(this, machine.Pages, length);
    }

    public Mm Client { get; }

    public RemoteMirrorMapping Mapping { get; }

    public RemoteMirrorStats Stats
    {
        get
        {
            using Mutex.Scope scope = _guard.Enter(_machine.CurrentTask);
            return _stats;
        }
    }

    /// <summary>Begins to hear of the target; the caller is one of its users.</summary>
    public int Begin(Task task) => Insert(task, _target, _start, Mapping.Size);

    /// <summary>Nobody has the file open or maps it any more.</summary>
    public void End(Task? task)
    {
        Remove(task);
        using (_guard.Enter(task))
            _table.Clear();
        Mapping.Free();
    }

    /// <summary>Makes a page ready for <see cref="Fault"/>, by asking the target's tables; holds no lock.</summary>
    public FaultOutcome Prepare(Task task, ulong page, bool write)
    {
        var pfns = new ulong[1];
        ulong address = _start + (page << Pfn.Shift);
        while (!task.FatalSignalPending)
        {
            // An address space that has ended has no memory; or the table has no room.
            if (!_machine.KernelMemory.HasRoom || !_target.TryGet())
                return FaultOutcome.BusError;
            var range = new HmmRange(_target, address, address + Pfn.Size, pfns)
            {
                Notifier = this,
                DefaultFlags = HmmPfn.ReqFault | (write ? HmmPfn.ReqWrite : HmmPfn.None),
                NotifierSequence = ReadBegin(task),
            };
            int error;
            using (_target.EnterRead(task))
                error = Hmm.RangeFault(task, range);
            bool entered = error == 0 && TryEnter(task, page, range, write);
            _target.Put(task);
            if (entered)
                return FaultOutcome.Retry;
            if (error is not (0 or -Errno.EBUSY))
                return error == -Errno.ENOMEM ? FaultOutcome.OutOfMemory : FaultOutcome.BusError;
            task.PreemptionPoint();
        }
        return FaultOutcome.BusError;
    }

    /// <summary>False: the target has changed since it was asked.</summary>
    private bool TryEnter(Task task, ulong page, HmmRange range, bool write)
    {
        using Mutex.Scope scope = _guard.Enter(task);
        _stats.Lookups++;
        if (ReadRetry(range.NotifierSequence))
        {
            _stats.Retries++;
            return false;
        }
        Pfn frame = HmmRange.FrameOf(range.Pfns.Span[0]);
        // The client's stores set no bit in the target's entry, and it must not be taken for clean (set_page_dirty in ib_umem_odp_unmap_dma_pages).
        if (write)
            PageAllocator.SetFlags(ref _machine.Pages[_machine.Pages.HeadOf(frame)], PageFlags.Dirty);
        bool writable = write || (_table.TryFind(page, out _, out MirrorTag tag) && tag == MirrorTag.Write);
        _table.Store(page, frame, writable ? MirrorTag.Write : MirrorTag.Read);
        return true;
    }

    /// <summary>Maps a page if the table has it.</summary>
    public FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong page, bool write)
    {
        // A child of fork has the mapping and no business with what it shows (VM_WIPEONFORK).
        if (vma.Mm != Client)
            return FaultOutcome.BusError;
        using Mutex.Scope scope = _guard.Enter(task);
        if (IsLeaving(page) || !_table.TryFind(page, out Pfn frame, out MirrorTag tag) || (write && tag != MirrorTag.Write))
            return FaultOutcome.Retry;
        vma.Mm.InsertPfn(task, vma, address, frame, writable: tag == MirrorTag.Write);
        _stats.Inserts++;
        return FaultOutcome.Done;
    }

    private bool IsLeaving(ulong page)
    {
        foreach ((ulong first, ulong last) in _leaving)
        {
            if (page >= first && page <= last)
                return true;
        }
        return false;
    }

    /// <inheritdoc/>
    public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
    {
        ulong first = (Math.Max(range.Start, _start) - _start) >> Pfn.Shift;
        ulong last = (Math.Min(range.End, _start + Mapping.Size) - 1 - _start) >> Pfn.Shift;
        if (range.Blockable)
            _guard.Lock(task);
        else if (!_guard.TryLock(task))
            return false;
        bool mapped = _table.HasAny(first, last);
        if (mapped && !range.Blockable)
        {
            // The client's mappings cannot be locked without waiting.
            _guard.Unlock();
            return false;
        }
        SetSequence(sequence);
        _stats.Invalidations++;
        if (mapped)
        {
            _leaving.Add((first, last));
            _stats.Zaps++;
        }
        _guard.Unlock();
        if (!mapped)
            return true;
        // This is announced to whoever mirrors the client, as Paolo Bonzini wanted it.
        Mapping.Zap(task, first, last);
        using Mutex.Scope scope = _guard.Enter(task);
        _table.Erase(first, last);
        _leaving.Remove((first, last));
        return true;
    }
}

/// <summary>What the client maps of a window.</summary>
internal sealed class RemoteMirrorMapping(RemoteMirror mirror, PageAllocator pages, ulong bytes) : DeviceMapping(pages, bytes, MappingsClass)
{
    /// <summary>
    /// Taken in notifiers, which other drivers call with the lock of their own mappings: a target may map a buffer. What they map cannot be mirrored, so no circle closes.
    /// </summary>
    private static readonly LockClass MappingsClass = new("i_mmap_lock(mirror)");

    internal override bool AsksBeforeWrites => true;

    internal override long CheckMapping(ref VmFlags flags)
    {
        flags |= VmFlags.WipeOnFork;
        return base.CheckMapping(ref flags);
    }

    internal override FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong index, bool write) =>
        index >= Size >> Pfn.Shift ? FaultOutcome.BusError : mirror.Fault(task, vma, address, index, write);

    internal override FaultOutcome Prepare(Task? task, ulong index, bool write) =>
        task is null ? FaultOutcome.BusError : mirror.Prepare(task, index, write);
}

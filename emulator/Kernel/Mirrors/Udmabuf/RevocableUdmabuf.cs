using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// A buffer whose pages can be taken back: it has them while they are the file's, and gets them again when somebody needs them. It is a dynamic
/// exporter, so a static importer pins, and keeps what it has pinned.
/// </summary>
/// <remarks>
/// The protocol is that of interval notifiers: note the sequence number, wait for changes under way, look the page up, and enter it under
/// <see cref="Guard"/> if no change has begun meanwhile. That lock is what notifiers take; under it nothing is allocated, no page of a file looked up and no
/// dma_resv taken, and devices finish work that is under way without it. So a change waits for a bounded time: for the jobs that were committed before it.
/// </remarks>
internal abstract class RevocableUdmabuf : Udmabuf
{
    /// <summary>How long colliding changes are put up with (HMM_RANGE_DEFAULT_TIMEOUT).</summary>
    private const long Timeout = 1000 * Clock.Millisecond;

    private static readonly LockClass GuardClass = new("udmabuf_notifier_lock");

    private readonly Pfn[] _frames;
    private readonly List<(DmaBufAttachment Attachment, SgTable Table)> _mapped = [];
    private readonly WaitQueue _settled = new();
    private ulong _sequence;
    private int _changes;

    protected RevocableUdmabuf(Machine machine, UdmabufItem[] items)
        : base(machine, items) => _frames = new Pfn[PageCount];

    public override bool HasPin => true;

    /// <summary>Guards what the buffer has, and which devices use it.</summary>
    protected Mutex Guard { get; } = new(GuardClass);

    /// <summary>Finds a page, and takes what keeps it for the buffer until <see cref="Drop"/>. Holds no lock. -EBUSY: again.</summary>
    protected abstract int Find(Task task, ulong page, out Pfn frame);

    /// <summary>Gives back what <see cref="Find"/> took.</summary>
    protected abstract void Drop(Pfn frame);

    /// <summary>Begins to hear of changes; before the first page is taken.</summary>
    protected abstract int Subscribe(Task task);

    protected abstract void Unsubscribe(Task? task);

    public override int Populate(Task task)
    {
        int error = Subscribe(task);
        return error != 0 ? error : Prepare(task);
    }

    /// <summary>Gets every page that the buffer does not have; without locks, before <see cref="Map"/>.</summary>
    public override int Prepare(Task task)
    {
        for (ulong page = 0; page < PageCount; page++)
        {
            int error = _frames[page] == default ? Acquire(task, page) : 0;
            if (error != 0)
                return error;
        }
        return 0;
    }

    private int Acquire(Task task, ulong page)
    {
        for (long deadline = Machine.Clock.MonotonicNs + Timeout; ;)
        {
            ulong sequence = Volatile.Read(ref _sequence);
            _settled.Wait(task, this, static b => Volatile.Read(ref b._changes) == 0, interruptible: false);
            int error = Find(task, page, out Pfn frame);
            if (error == 0)
            {
                bool done, taken = false;
                using (Guard.Enter(task))
                {
                    done = _sequence == sequence && _changes == 0;
                    if (done && _frames[page] == default)
                    {
                        _frames[page] = frame;
                        taken = true;
                    }
                }
                if (!taken)
                    Drop(frame);
                if (done)
                    return 0;
            }
            else if (error != -Errno.EBUSY)
            {
                return error;
            }
            if (Machine.Clock.MonotonicNs > deadline)
                return -Errno.EBUSY;
            task.PreemptionPoint();
        }
    }

    public override FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong page)
    {
        using Mutex.Scope scope = Guard.Enter(task);
        if (_frames[page] == default)
            return FaultOutcome.Retry;
        vma.Mm.InsertPfn(task, vma, address, _frames[page]);
        return FaultOutcome.Done;
    }

    public override FaultOutcome Prepare(Task? task, ulong page) =>
        task is null ? FaultOutcome.BusError
        : Acquire(task, page) switch
        {
            0 or -Errno.EBUSY => FaultOutcome.Retry,
            -Errno.ENOMEM => FaultOutcome.OutOfMemory,
            _ => FaultOutcome.BusError,
        };

    /// <summary>-EAGAIN: the buffer does not have every page; <see cref="Prepare(Task)"/>, without the dma_resv.</summary>
    public override int Map(Task? task, DmaBufAttachment attachment, DmaDirection direction, out SgTable? table)
    {
        table = null;
        using Mutex.Scope scope = Guard.Enter(task);
        if (Array.IndexOf(_frames, default) >= 0)
            return -Errno.EAGAIN;
        if (attachment.IsPinned && !TryPinAll())
            return -Errno.ENOMEM;
        table = MakeTable([.. _frames], direction, attachment.IsPinned);
        _mapped.Add((attachment, table));
        return 0;
    }

    private bool TryPinAll()
    {
        for (int i = 0; i < _frames.Length; i++)
        {
            if (Pages.TryPin(_frames[i]))
                continue;
            while (--i >= 0)
                Pages.Unpin(_frames[i]);
            return false;
        }
        return true;
    }

    public override void Unmap(Task? task, DmaBufAttachment attachment, SgTable table)
    {
        using (Guard.Enter(task))
            _mapped.RemoveAll(m => m.Table == table);
        if (!table.IsPinned)
            return;
        foreach (Pfn frame in table.Frames)
            Pages.Unpin(frame);
    }

    /// <summary>Pages are pinned for each table that is made while the attachment is pinned.</summary>
    public override int Pin(Task? task, DmaBufAttachment attachment) => 0;

    public override bool TryCommit(Task? task, DmaBuf buffer, SgTable table, DmaFence fence, DmaResvUsage usage)
    {
        using Mutex.Scope scope = Guard.Enter(task);
        if (table.IsRevoked)
            return false;
        buffer.Resv.Add(fence, usage);
        return true;
    }

    /// <summary>A change begins: pages [first, last] of the buffer are taken from everybody who can do without.</summary>
    /// <param name="task">Who makes the change.</param>
    /// <param name="first">The first page of the buffer.</param>
    /// <param name="last">The last one.</param>
    /// <param name="lasts">The change lasts until <see cref="EndChange"/>; otherwise <see cref="Find"/> knows how to wait for its end.</param>
    protected void BeginChange(Task? task, ulong first, ulong last, bool lasts)
    {
        var dropped = new List<Pfn>();
        using (Guard.Enter(task))
        {
            _sequence++;
            if (lasts)
                _changes++;
            for (ulong page = first; page <= last; page++)
            {
                if (_frames[page] == default)
                    continue;
                dropped.Add(_frames[page]);
                _frames[page] = default;
            }
            foreach ((DmaBufAttachment attachment, SgTable table) in _mapped)
            {
                if (table.IsPinned)
                    ReportKept(first, last, attachment.ToString());
                else
                    Revoke(task, attachment, table);
            }
            // Whatever was committed before has its pages until it is done.
            if (_mapped.Count > 0)
                Buffer.Resv.Wait(task, DmaResvUsage.Bookkeep, interruptible: false);
            Area.Zap(task, first, last);
        }
        Machine.DmaBufs.Count(DmaBufCounter.Invalidated, dropped.Count);
        foreach (Pfn frame in dropped)
            Drop(frame);
    }

    private void Revoke(Task? task, DmaBufAttachment attachment, SgTable table)
    {
        if (table.IsRevoked)
            return;
        table.Revoke();
        Machine.DmaBufs.Count(DmaBufCounter.Revokes);
        attachment.Importer?.Revoke(task, attachment);
    }

    /// <summary>Ends a change that <see cref="BeginChange"/> began.</summary>
    protected void EndChange(Task? task)
    {
        using (Guard.Enter(task))
            _changes--;
        _settled.WakeAll();
    }

    public override void Release(Task? task)
    {
        Unsubscribe(task);
        foreach (Pfn frame in _frames)
        {
            if (frame != default)
                Drop(frame);
        }
        base.Release(task);
    }
}

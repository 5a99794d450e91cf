using System.Runtime.CompilerServices;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The lock of each page (PG_locked): held while a page changes what it is, never under a spin lock when it may be contended. Those who
/// wait sleep on one of a few hashed queues (mm/filemap.c:folio_wait_table).
/// </summary>
internal sealed class PageLocks
{
    private const int Queues = 64;

    private readonly PageAllocator _pages;
    private readonly WaitQueue[] _queues = new WaitQueue[Queues];

    public PageLocks(PageAllocator pages)
    {
        _pages = pages;
        for (int i = 0; i < Queues; i++)
            _queues[i] = new WaitQueue();
    }

    public bool IsLocked(Pfn frame) => (Word(frame) & (uint)PageFlags.Locked) != 0;

    /// <summary>Who watches, or null.</summary>
    public LockDep? LockDep { get; set; }

    /// <summary>trylock_page. The caller holds a reference.</summary>
    public bool TryLock(Pfn frame)
    {
        bool locked = TrySet(frame);
        if (locked)
            LockDep?.AcquirePage(null, this, nameof(TryLock));
        return locked;
    }

    private bool TrySet(Pfn frame) => (Interlocked.Or(ref Word(frame), (uint)PageFlags.Locked) & (uint)PageFlags.Locked) == 0;

    /// <summary>lock_page: may sleep. The caller holds a reference.</summary>
    /// <param name="task">The caller; null: whoever runs on this thread, or nobody that others wait for.</param>
    public void Lock(Task? task, Pfn frame)
    {
        // To spin with a vCPU would keep a holder waiting that has asked it for a flush.
        task ??= _pages.CurrentTask();
        task?.PreemptionPoint();
        LockDep?.AcquirePage(task, this, nameof(Lock));
        if (TrySet(frame))
            return;
        if (task is null)
            Spin(frame);
        else
            Queue(frame).Wait(task, (this, frame), static s => s.Item1.TrySet(s.frame), interruptible: false);
    }

    private void Spin(Pfn frame) => SpinWait.SpinUntil(() => TrySet(frame));

    /// <summary>Waits until nobody holds the lock, without taking it (folio_wait_locked).</summary>
    public void Wait(Task task, Pfn frame) => Queue(frame).Wait(task, (this, frame), static s => !s.Item1.IsLocked(s.frame), interruptible: false);

    public void Unlock(Pfn frame)
    {
        LockDep?.ReleasePage(this);
        Interlocked.And(ref Word(frame), ~(uint)PageFlags.Locked);
        // A full fence, as WakeAll has one: few pages have anybody waiting.
        WaitQueue queue = Queue(frame);
        if (queue.HasWaiters)
            queue.WakeAll();
    }

    /// <summary>Waits while the holder of a page's lock sees to it that an entry becomes another one (migration_entry_wait).</summary>
    /// <param name="task">The caller.</param>
    /// <param name="frame">The page that the entry names.</param>
    /// <param name="entry">In a table that the caller's mmap lock keeps, so that the pointer stays good through the sleep.</param>
    /// <param name="value">What the entry was.</param>
    public unsafe void WaitForEntry(Task? task, Pfn frame, ulong* entry, ulong value)
    {
        task ??= _pages.CurrentTask();
        if (task is null)
            SpinWait.SpinUntil(() => Volatile.Read(ref *entry) != value || !IsLocked(frame));
        else
            Queue(frame).Wait(task, (Locks: this, frame, Entry: (nint)entry, value), static s => Volatile.Read(ref *(ulong*)s.Entry) != s.value || !s.Locks.IsLocked(s.frame), interruptible: false);
    }

    private ref uint Word(Pfn frame) => ref Unsafe.As<PageFlags, uint>(ref _pages[frame].Flags);

    private WaitQueue Queue(Pfn frame) => _queues[(int)(frame.Value * 0x9E3779B97F4A7C15 >> 58)];
}

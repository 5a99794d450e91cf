using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>The blocks of a tmpfs mount (Linux's <c>shmem_sb_info</c>): pages its files may have altogether.</summary>
public sealed class ShmemQuota(long maxPages)
{
    private long _used;

    public long MaxPages { get; } = maxPages;

    public long UsedPages => Volatile.Read(ref _used);

    internal bool TryCharge()
    {
        if (Interlocked.Increment(ref _used) <= MaxPages)
            return true;
        Interlocked.Decrement(ref _used);
        return false;
    }

    internal void Uncharge() => Interlocked.Decrement(ref _used);
}

/// <summary>A file that lives in memory only: tmpfs, memfd, POSIX and SysV shared memory, shared anonymous mappings (mm/shmem.c).</summary>
/// <param name="pages">The machine's frames.</param>
/// <param name="seals">A file that may not be sealed has the seal of seals.</param>
/// <param name="quota">The mount's limit; null for files of no mount.</param>
/// <param name="promised">Pages that whoever made the file has committed for all of it (shmem_acct_size); 0: each page is, when it is made.</param>
public sealed class ShmemPageCache(PageAllocator pages, Seals seals = Seals.Seal, ShmemQuota? quota = null, ulong promised = 0) : PageCache(pages), ISealable
{
    private readonly WaitQueue _punchWaiters = new();
    private readonly Mutex _punchLock = new(LockClass.ShmemPunch);
    private readonly Sealing _sealing = new(seals);
    private PunchedRange? _punched;

    /// <summary>The pages [First, End) that a punch takes away at this moment (struct shmem_falloc).</summary>
    private sealed record PunchedRange(ulong First, ulong End, Task? By);

    protected override PageFlags FrameFlags => PageFlags.Cache | PageFlags.SwapBacked;

    public Seals Seals => _sealing.Seals;

    /// <inheritdoc/>
    public long AddSeals(int bits, bool executable = false) => _sealing.Add(this, bits, executable);

    internal override long CheckMapping(ref VmFlags flags) => _sealing.CheckMapping(ref flags);

    private protected override bool TryCharge()
    {
        if (promised == 0 && Pages.Overcommit?.TryCommit(1) == false)
            return false;
        if (quota?.TryCharge() ?? true)
            return true;
        if (promised == 0)
            Pages.Overcommit?.Add(-1);
        return false;
    }

    private protected override void Uncharge()
    {
        quota?.Uncharge();
        if (promised == 0)
            Pages.Overcommit?.Add(-1);
    }

    protected override void Release()
    {
        base.Release();
        Pages.Overcommit?.Add(-(long)promised);
    }

    public override long Write(ulong offset, ReadOnlySpan<byte> buffer, Task? task)
    {
        Seals seals = Seals;
        if ((seals & Seals.AnyWrite) != 0)
            return -Errno.EPERM;
        if ((seals & Seals.Grow) != 0 && offset + (ulong)buffer.Length > Size)
        {
            // Page by page: what ends inside the file is written (shmem_write_begin).
            ulong whole = Size & ~0xFFFUL;
            if (offset >= whole)
                return offset + (ulong)buffer.Length <= Size ? base.Write(offset, buffer, task) : -Errno.EPERM;
            buffer = buffer[..(int)(whole - offset)];
        }
        return base.Write(offset, buffer, task);
    }

    public override long Truncate(Task? task, ulong size)
    {
        if ((size < Size && (Seals & Seals.Shrink) != 0) || (size > Size && (Seals & Seals.Grow) != 0))
            return -Errno.EPERM;
        return base.Truncate(task, size);
    }

    /// <summary>
    /// Frees the whole pages of [offset, offset + length) and clears the parts of pages at its ends (shmem_fallocate with
    /// FALLOC_FL_PUNCH_HOLE). Faults on those pages wait until it is done, for otherwise they could refill the hole as fast as it is dug.
    /// </summary>
    public long PunchHole(Task? task, ulong offset, ulong length)
    {
        if ((Seals & Seals.AnyWrite) != 0)
            return -Errno.EPERM;
        ulong end = offset + length, first = (offset + 0xFFF) >> 12, behind = end >> 12;
        if (task is not null)
            _punchLock.Lock(task);
        try
        {
            if (behind > first)
            {
                Volatile.Write(ref _punched, new PunchedRange(first, behind, task));
                using ChangeScope change = AnnounceChange(task, first, behind - 1, FileNotifyEvent.Punch);
                UnmapMappingRange(task, first, behind - 1, evenCopies: false);
                RemoveCached(task, first, behind - 1);
            }
            ClearEdges(task, offset, end, first, behind);
        }
        finally
        {
            Volatile.Write(ref _punched, null);
            _punchWaiters.WakeAll();
            if (task is not null)
                _punchLock.Unlock();
        }
        return 0;
    }

    /// <summary>shmem_fault: an access to a page that is being punched waits and is then made again, against the emptied file.</summary>
    internal override bool WaitForPunch(Task task, ulong index)
    {
        if (Volatile.Read(ref _punched) is not { } range || index < range.First || index >= range.End)
            return false;
        if (range.By == task)
            task.Mm.StopSelfDeadlock(task, NotifierRules.NoFaultOnPunchInCallback, $"page {index} is faulted in");
        _punchWaiters.Wait(task, (this, range), static s => !ReferenceEquals(Volatile.Read(ref s.Item1._punched), s.range), interruptible: false);
        return true;
    }

    /// <summary>The pages from an index on, locked and with a reference each, as many as can be had without waiting (see <see cref="PageCache.TryLockPages"/>).</summary>
    internal int LockPages(ulong first, Span<Pfn> frames) => Volatile.Read(ref _punched) is null ? TryLockPages(first, frames) : 0;

    /// <summary>Populates [offset, offset + length), growing the file unless <paramref name="keepSize"/> (shmem_fallocate).</summary>
    public long Allocate(Task? task, ulong offset, ulong length, bool keepSize)
    {
        ulong end = offset + length;
        if (end > MaxSize)
            return -Errno.EFBIG;
        if (end > Size && (Seals & Seals.Grow) != 0)
            return -Errno.EPERM;
        ulong first = offset >> 12, behind = (end + 0xFFF) >> 12;
        if (quota is not null && behind - first > (ulong)quota.MaxPages)
            return -Errno.ENOSPC;
        for (ulong index = first; index < behind; index++)
        {
            long error = task is { SignalPending: true } ? -Errno.EINTR : Preallocate(task, index);
            if (error == 0)
                continue;
            RemoveUnused(task, first, index);
            return error;
        }
        if (!keepSize)
            GrowTo(end);
        return 0;
    }

    /// <summary>What a fallocate that failed has added goes again; what was there before, or was used meanwhile, stays.</summary>
    private void RemoveUnused(Task? task, ulong first, ulong behind)
    {
        for (ulong index = first; index < behind; index++)
        {
            // One in the swap area was used: those that nobody has used yet are never sent there.
            if (!TryGetPresent(index, out Pfn frame))
                continue;
            Pages.Locks.Lock(task, frame);
            if ((Pages[frame].Flags & PageFlags.Unused) != 0)
                RemoveLocked(task, frame, index);
            Pages.Locks.Unlock(frame);
            Pages.Put(frame);
        }
    }
}

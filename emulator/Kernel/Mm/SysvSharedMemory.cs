using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>A System V shared memory segment (struct shmid_kernel).</summary>
public sealed class SysvSegment : IMappingObserver
{
    private readonly SysvSharedMemory _owner;

    internal SysvSegment(SysvSharedMemory owner, PageAllocator pages, int id, int key, ulong size, int mode, ulong promised, Task creator)
    {
        _owner = owner;
        Cache = new ShmemPageCache(pages, promised: promised);
        Cache.Truncate(creator, Layout.PageAlign(size));
        (Id, Key, Size, Mode) = (id, key, size, mode);
        CreatorPid = creator.Process.Pid;
        ChangeTime = owner.Now(creator);
        (OwnerUid, OwnerGid) = (creator.Credentials.EffectiveUid, creator.Credentials.EffectiveGid);
        (CreatorUid, CreatorGid) = (OwnerUid, OwnerGid);
    }

    public ShmemPageCache Cache { get; }

    public int Id { get; }

    public int Key { get; internal set; }

    /// <summary>In bytes, as asked for.</summary>
    public ulong Size { get; }

    public int Mode { get; internal set; }

    public uint OwnerUid { get; internal set; }
    public uint OwnerGid { get; internal set; }
    public uint CreatorUid { get; }
    public uint CreatorGid { get; }
    public int CreatorPid { get; }
    public int LastPid { get; internal set; }
    public long AttachTime { get; internal set; }
    public long DetachTime { get; internal set; }
    public long ChangeTime { get; internal set; }

    /// <summary>Mappings of the segment by all processes.</summary>
    public int Attachments { get; private set; }

    /// <summary>IPC_RMID was asked for; the segment goes with its last mapping.</summary>
    public bool IsDestroyed { get; internal set; }

    /// <summary>Counts an attachment that is about to be made, so that the segment is not removed meanwhile (do_shmat, shm_nattch). False: it is gone.</summary>
    internal bool TryHold()
    {
        lock (_owner.Lock)
        {
            if (IsDestroyed && Attachments == 0)
                return false;
            Attachments++;
            return true;
        }
    }

    void IMappingObserver.Opened(Vma vma)
    {
        lock (_owner.Lock)
            Attachments++;
    }

    void IMappingObserver.Closed(Vma vma) => Drop();

    /// <summary>An attachment is gone, or was not made after all; with the last one goes a segment that was to be removed.</summary>
    internal void Drop()
    {
        bool gone;
        lock (_owner.Lock)
            gone = --Attachments == 0 && IsDestroyed && _owner.Forget(this);
        if (gone)
            Cache.Free();
    }

    /// <summary>Marks it for removal, and removes it when nobody has it mapped.</summary>
    internal void Destroy()
    {
        bool gone;
        lock (_owner.Lock)
        {
            IsDestroyed = true;
            Key = 0;
            gone = Attachments == 0 && _owner.Forget(this);
        }
        if (gone)
            Cache.Free();
    }
}

/// <summary>System V shared memory segments of a machine (ipc/shm.c).</summary>
public sealed class SysvSharedMemory
{
    /// <summary>SHMMNI, SHMMAX.</summary>
    public const int MaxSegments = 4096;

    public const ulong MaxSize = ulong.MaxValue - (1UL << 24);

    private readonly SortedDictionary<int, SysvSegment> _segments = [];
    private int _nextId;

    internal Lock Lock { get; } = new();

    internal long Now(Task task) => task.Machine.Clock.RealtimeNs / Clock.Second;

    /// <summary>The segment with an identifier, destroyed ones that are still mapped included.</summary>
    public SysvSegment? Find(int id)
    {
        lock (Lock)
            return _segments.GetValueOrDefault(id);
    }

    /// <summary>The segments by identifier.</summary>
    public SysvSegment[] Snapshot()
    {
        lock (Lock)
            return [.. _segments.Values];
    }

    internal bool Forget(SysvSegment segment) => _segments.Remove(segment.Id);

    /// <summary>shmget: an identifier or a negative errno.</summary>
    internal long Get(Task task, PageAllocator pages, int key, ulong size, int flags)
    {
        const int create = 0x200, exclusive = 0x400, hugeTlb = 0x800, noReserve = 0x1000;
        lock (Lock)
        {
            if (key != 0 && FindKey(key) is { } existing)
            {
                if ((flags & (create | exclusive)) == (create | exclusive))
                    return -Errno.EEXIST;
                return size > existing.Size ? -Errno.EINVAL : existing.Id;
            }
            if (key != 0 && (flags & create) == 0)
                return -Errno.ENOENT;
            if (size is 0 or > MaxSize || (flags & hugeTlb) != 0)
                return -Errno.EINVAL;
            if (_segments.Count >= MaxSegments)
                return -Errno.ENOSPC;
            MemorySystem system = task.Machine.MemorySystem;
            bool promises = (flags & noReserve) == 0 || system.Sysctls.OvercommitMemory == Overcommit.Never;
            ulong promised = promises ? Layout.PageAlign(size) >> Pfn.Shift : 0;
            if (!system.Overcommit.TryCommit(promised, task.Mm.TotalPages))
                return -Errno.ENOMEM;
            while (_segments.ContainsKey(_nextId))
                _nextId = (_nextId + 1) & int.MaxValue;
            var segment = new SysvSegment(this, pages, _nextId, key, size, flags & 0x1FF, promised, task);
            _nextId = (_nextId + 1) & int.MaxValue;
            _segments.Add(segment.Id, segment);
            return segment.Id;
        }
    }

    private SysvSegment? FindKey(int key)
    {
        foreach (SysvSegment segment in _segments.Values)
        {
            if (segment.Key == key)
                return segment;
        }
        return null;
    }
}

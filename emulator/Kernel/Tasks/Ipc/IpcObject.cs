using System.Buffers.Binary;

namespace Emulator.Kernel.Tasks.Ipc;

/// <summary>What a System V semaphore set and a message queue have in common (struct kern_ipc_perm).</summary>
internal abstract class IpcObject
{
    public const int Read = 4, Write = 2;

    /// <summary>Bytes of struct ipc64_perm.</summary>
    public const int PermissionsSize = 48;

    protected IpcObject(Task creator, int key, int mode)
    {
        (Key, Mode) = (key, mode & 0x1FF);
        (OwnerUid, OwnerGid) = (CreatorUid, CreatorGid) = (creator.Credentials.EffectiveUid, creator.Credentials.EffectiveGid);
        ChangeTime = Now(creator);
    }

    public int Id { get; internal set; }

    public int Key { get; private set; }

    public int Mode { get; private set; }

    public uint OwnerUid { get; private set; }

    public uint OwnerGid { get; private set; }

    public uint CreatorUid { get; }

    public uint CreatorGid { get; }

    public long ChangeTime { get; protected set; }

    /// <summary>IPC_RMID: nobody finds it any more, and whoever waits for it gets EIDRM.</summary>
    public bool IsRemoved { get; private set; }

    /// <summary>Guards everything in the object; wakes of tasks happen under it.</summary>
    public Lock Lock { get; } = new();

    /// <summary>ipcperms, in a world of one user: the owner's bits decide.</summary>
    public bool Allows(int access) => (Mode >> 6 & access) == access;

    public static long Now(Task task) => task.Machine.Clock.RealtimeNs / Clock.Second;

    /// <summary>Called with the lock held.</summary>
    internal void Remove()
    {
        IsRemoved = true;
        Key = 0;
        OnRemoved();
    }

    /// <summary>Ends all waits.</summary>
    protected abstract void OnRemoved();

    /// <summary>IPC_SET, from a struct ipc64_perm.</summary>
    internal void SetPermissions(Task task, ReadOnlySpan<byte> permissions)
    {
        OwnerUid = BinaryPrimitives.ReadUInt32LittleEndian(permissions[4..]);
        OwnerGid = BinaryPrimitives.ReadUInt32LittleEndian(permissions[8..]);
        Mode = (int)BinaryPrimitives.ReadUInt32LittleEndian(permissions[20..]) & 0x1FF;
        ChangeTime = Now(task);
    }

    /// <summary>Writes struct ipc64_perm.</summary>
    internal void WritePermissions(Span<byte> to)
    {
        BinaryPrimitives.WriteInt32LittleEndian(to, Key);
        BinaryPrimitives.WriteUInt32LittleEndian(to[4..], OwnerUid);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], OwnerGid);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], CreatorUid);
        BinaryPrimitives.WriteUInt32LittleEndian(to[16..], CreatorGid);
        BinaryPrimitives.WriteInt32LittleEndian(to[20..], Mode);
    }
}

/// <summary>The objects of one kind by identifier and by key (ipc/util.c).</summary>
internal sealed class IpcTable<T>
    where T : IpcObject
{
    public const int IPC_CREAT = 0x200, IPC_EXCL = 0x400, IPC_NOWAIT = 0x800;
    public const int IPC_RMID = 0, IPC_SET = 1, IPC_STAT = 2, IPC_INFO = 3;

    /// <summary>SEMMNI and MSGMNI.</summary>
    public const int Maximum = 32000;

    private readonly Lock _lock = new();
    private readonly SortedDictionary<int, T> _objects = [];
    private int _nextId;

    /// <summary>ipcget: an identifier or a negative errno.</summary>
    /// <param name="check">What the kind asks of an object that exists: 0 or a negative errno.</param>
    /// <param name="create">Makes a new one, or says why not.</param>
    public long Get(int key, int flags, Func<T, long> check, Func<(T? Made, long Error)> create)
    {
        lock (_lock)
        {
            if (key != 0 && _objects.Values.FirstOrDefault(o => o.Key == key) is { } existing)
            {
                if ((flags & (IPC_CREAT | IPC_EXCL)) == (IPC_CREAT | IPC_EXCL))
                    return -Errno.EEXIST;
                long error = check(existing);
                int wanted = (flags >> 6 | flags >> 3 | flags) & 7;
                return error != 0 ? error : existing.Allows(wanted) ? existing.Id : -Errno.EACCES;
            }
            if (key != 0 && (flags & IPC_CREAT) == 0)
                return -Errno.ENOENT;
            (T? made, long failure) = create();
            if (made is null)
                return failure;
            if (_objects.Count >= Maximum)
                return -Errno.ENOSPC;
            while (_objects.ContainsKey(_nextId))
                _nextId = (_nextId + 1) & int.MaxValue;
            made.Id = _nextId;
            _nextId = (_nextId + 1) & int.MaxValue;
            _objects.Add(made.Id, made);
            return made.Id;
        }
    }

    public T? Find(int id)
    {
        lock (_lock)
            return _objects.GetValueOrDefault(id);
    }

    /// <summary>The objects by identifier.</summary>
    public T[] Snapshot()
    {
        lock (_lock)
            return [.. _objects.Values];
    }

    public void Remove(T removed)
    {
        lock (_lock)
            _objects.Remove(removed.Id);
        lock (removed.Lock)
            removed.Remove();
    }
}

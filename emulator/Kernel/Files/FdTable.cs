using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>A process's descriptors (struct files_struct). Threads made with CLONE_FILES share one.</summary>
/// <remarks>In bounds: descriptors are compared with the table's length as unsigned numbers; it grows to the hard limit at most, and is counted in the kernel's memory.</remarks>
public sealed class FdTable
{
    /// <summary>fs.nr_open: no limit makes a table larger than this.</summary>
    public const int HardLimit = 1 << 20;

    /// <summary>Where a large table is counted; null: nowhere.</summary>
    internal Memory.KernelMemory? Memory { get; init; }

    private readonly Lock _lock = new();
    private const int FirstSize = 64;
    private OpenFile?[] _files = new OpenFile?[FirstSize];
    private bool[] _closeOnExec = new bool[FirstSize];
    private int _firstFree;
    private int _users = 1;

    /// <summary>Open descriptors now.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                int n = 0;
                foreach (OpenFile? f in _files)
                    n += f is null ? 0 : 1;
                return n;
            }
        }
    }

    /// <summary>Descriptors below this may be open; select looks no further (struct fdtable's max_fds).</summary>
    public int Capacity
    {
        get
        {
            lock (_lock)
                return _files.Length;
        }
    }

    /// <summary>Another task shares this table (CLONE_FILES).</summary>
    public FdTable Share()
    {
        Interlocked.Increment(ref _users);
        return this;
    }

    public bool IsShared => Volatile.Read(ref _users) > 1;

    /// <summary>A sharer leaves; the last one closes everything.</summary>
    public void Release(Task? task)
    {
        if (Interlocked.Decrement(ref _users) != 0)
            return;
        for (int fd = 0; fd < _files.Length; fd++)
            Close(task, fd);
        Memory?.Uncharge(Cost(_files.Length));
    }

    /// <summary>A table of the first size is part of its process.</summary>
    private static long Cost(int length) => (length - FirstSize) * (long)Kernel.Memory.KernelMemory.Descriptor;

    /// <summary>The copy that fork makes: same descriptions, own descriptors.</summary>
    public FdTable Clone()
    {
        var copy = new FdTable { Memory = Memory };
        lock (_lock)
        {
            Memory?.Charge(Cost(_files.Length));
            copy._files = new OpenFile?[_files.Length];
            copy._closeOnExec = (bool[])_closeOnExec.Clone();
            copy._firstFree = _firstFree;
            for (int i = 0; i < _files.Length; i++)
                copy._files[i] = _files[i]?.Get();
        }
        return copy;
    }

    /// <summary>The file behind a descriptor with one more reference, which the caller disposes of.</summary>
    public FileReference Get(int fd)
    {
        lock (_lock)
            return new FileReference((uint)fd < (uint)_files.Length ? _files[fd]?.Get() : null);
    }

    /// <summary>Like <see cref="Get"/> but only for descriptors opened for I/O: O_PATH ones give nothing (fdget).</summary>
    public FileReference GetForIo(int fd)
    {
        FileReference reference = Get(fd);
        if (reference.File is null || (reference.File.Flags & FileAbi.O_PATH) == 0)
            return reference;
        reference.Dispose();
        return default;
    }

    public bool IsOpen(int fd)
    {
        lock (_lock)
            return (uint)fd < (uint)_files.Length && _files[fd] is not null;
    }

    /// <summary>Whether <see cref="Install"/> would find a descriptor now: who makes a file asks first (do_sys_openat2 reserves it).</summary>
    public bool HasFree(int limit)
    {
        limit = Math.Min(limit, HardLimit);
        lock (_lock)
        {
            int fd = _firstFree;
            while (fd < _files.Length && _files[fd] is not null)
                fd++;
            return fd < limit;
        }
    }

    /// <summary>Puts a file at the lowest free descriptor not below <paramref name="minimum"/>; takes over the caller's reference, also when it fails.</summary>
    /// <returns>The descriptor or -EMFILE.</returns>
    public int Install(OpenFile file, bool closeOnExec, int limit, int minimum = 0)
    {
        limit = Math.Min(limit, HardLimit);
        lock (_lock)
        {
            int fd = Math.Max(minimum, _firstFree);
            while (fd < _files.Length && _files[fd] is not null)
                fd++;
            if (fd < limit && TryGrow(fd))
            {
                Set(fd, file, closeOnExec);
                if (minimum <= _firstFree)
                    _firstFree = fd + 1;
                return fd;
            }
        }
        file.Put();
        return -Errno.EMFILE;
    }

    /// <summary>dup2: puts a file at a given descriptor, closing what was there. Takes over the caller's reference.</summary>
    /// <returns>The descriptor or -ENOMEM.</returns>
    public long InstallAt(Task task, int fd, OpenFile file, bool closeOnExec)
    {
        OpenFile? old;
        bool enough;
        lock (_lock)
        {
            enough = TryGrow(fd);
            old = enough ? _files[fd] : file;
            if (enough)
                Set(fd, file, closeOnExec);
        }
        if (old is not null)
            Drop(old);
        return enough ? fd : -Errno.ENOMEM;
    }

    public long Close(Task? task, int fd)
    {
        OpenFile? file;
        lock (_lock)
        {
            if ((uint)fd >= (uint)_files.Length || (file = _files[fd]) is null)
                return -Errno.EBADF;
            _files[fd] = null;
            _closeOnExec[fd] = false;
            _firstFree = Math.Min(_firstFree, fd);
        }
        Drop(file);
        return 0;
    }

    /// <summary>Closes, or marks close-on-exec, all descriptors from <paramref name="first"/> to <paramref name="last"/>.</summary>
    public void CloseRange(Task task, uint first, uint last, bool onlyMark)
    {
        int length;
        lock (_lock)
            length = _files.Length;
        for (uint fd = first; fd <= last && fd < (uint)length; fd++)
        {
            if (onlyMark)
                SetCloseOnExec((int)fd, true);
            else
                Close(task, (int)fd);
        }
    }

    /// <summary>execve's part.</summary>
    public void CloseOnExec(Task task)
    {
        for (int fd = 0; fd < _files.Length; fd++)
        {
            if (GetCloseOnExec(fd) == true)
                Close(task, fd);
        }
    }

    /// <summary>The FD_CLOEXEC flag, or null where nothing is open.</summary>
    public bool? GetCloseOnExec(int fd)
    {
        lock (_lock)
            return (uint)fd < (uint)_files.Length && _files[fd] is not null ? _closeOnExec[fd] : null;
    }

    public bool SetCloseOnExec(int fd, bool value)
    {
        lock (_lock)
        {
            if ((uint)fd >= (uint)_files.Length || _files[fd] is null)
                return false;
            _closeOnExec[fd] = value;
            return true;
        }
    }

    /// <summary>The open descriptors in order, for /proc.</summary>
    public int[] Snapshot()
    {
        var open = new List<int>();
        lock (_lock)
        {
            for (int fd = 0; fd < _files.Length; fd++)
            {
                if (_files[fd] is not null)
                    open.Add(fd);
            }
        }
        return [.. open];
    }

    private void Set(int fd, OpenFile file, bool closeOnExec)
    {
        _files[fd] = file;
        _closeOnExec[fd] = closeOnExec;
    }

    private bool TryGrow(int fd)
    {
        if (fd < _files.Length)
            return true;
        int size = Math.Min(HardLimit, Math.Max(fd + 1, _files.Length * 2));
        if (Memory?.TryCharge(Cost(size) - Cost(_files.Length)) == false)
            return false;
        Array.Resize(ref _files, size);
        Array.Resize(ref _closeOnExec, size);
        return true;
    }

    /// <summary>fcntl's record locks go with any descriptor of the file that their process closes (fs/locks.c:locks_remove_posix).</summary>
    private void Drop(OpenFile file)
    {
        file.Locks?.ReleasePosix(this);
        file.Put();
    }
}

/// <summary>A file kept open for the length of a system call, or nothing. Dispose of it exactly once.</summary>
public readonly struct FileReference(OpenFile? file) : IDisposable
{
    public OpenFile? File { get; } = file;

    public void Dispose() => File?.Put();
}

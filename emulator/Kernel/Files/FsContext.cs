namespace Emulator.Kernel.Files;

/// <summary>Root directory, working directory and umask (struct fs_struct). Threads made with CLONE_FS share one.</summary>
public sealed class FsContext
{
    private readonly Lock _lock = new();
    private Path _root;
    private Path _workingDirectory;
    private int _umask = 0x12;

    public FsContext(Path root, Path workingDirectory)
    {
        _root = root;
        _workingDirectory = workingDirectory;
    }

    public Path Root
    {
        get
        {
            lock (_lock)
                return _root;
        }

        set
        {
            lock (_lock)
                _root = value;
        }
    }

    public Path WorkingDirectory
    {
        get
        {
            lock (_lock)
                return _workingDirectory;
        }

        set
        {
            lock (_lock)
                _workingDirectory = value;
        }
    }

    /// <summary>Permission bits that new files do not get; 022 to begin with.</summary>
    public int Umask
    {
        get => Volatile.Read(ref _umask);
        set => Volatile.Write(ref _umask, value & 0x1FF);
    }

    public FsContext Clone() => new(Root, WorkingDirectory) { Umask = Umask };
}

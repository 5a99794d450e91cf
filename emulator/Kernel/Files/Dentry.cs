namespace Emulator.Kernel.Files;

/// <summary>A name in a directory. Names are byte strings, kept one byte a char (Latin-1), so that any byte a guest uses survives.</summary>
public sealed class Dentry
{
    public Dentry(Filesystem filesystem, Dentry? parent, string name, Inode inode)
    {
        Filesystem = filesystem;
        Parent = parent;
        Name = name;
        Inode = inode;
    }

    public Filesystem Filesystem { get; }

    /// <summary>The directory that holds the name; null for a file system's root and for nameless files.</summary>
    public Dentry? Parent { get; private set; }

    public string Name { get; private set; }

    public Inode Inode { get; }

    /// <summary>The name was removed while somebody still held it; paths show " (deleted)".</summary>
    public bool IsUnlinked { get; private set; }

    /// <summary>rename moved the name; called by the file system under its own lock.</summary>
    internal void Move(Dentry parent, string name)
    {
        Parent = parent;
        Name = name;
    }

    internal void MarkUnlinked() => IsUnlinked = true;

    internal bool IsWithin(Dentry ancestor)
    {
        for (Dentry? d = this; d is not null; d = d.Parent)
        {
            if (ReferenceEquals(d, ancestor))
                return true;
        }
        return false;
    }

    public override string ToString() => Parent is null ? Name : $"{Parent}/{Name}";
}

/// <summary>A place in the tree: a name and the mount through which it was reached (struct path).</summary>
public readonly record struct Path(Mount? Mount, Dentry? Dentry)
{
    public Inode Inode => Dentry!.Inode;

    public bool IsReadOnly => Mount is { ReadOnly: true };
}

/// <summary>A file system attached to the tree.</summary>
public sealed class Mount
{
    internal Mount(int id, Dentry root, Path parent, string name, bool readOnly)
    {
        Id = id;
        Root = root;
        ParentDirectory = parent;
        Name = name;
        ReadOnly = readOnly;
    }

    public int Id { get; }

    public Dentry Root { get; }

    /// <summary>The directory in which this mount covers the entry <see cref="Name"/>; the tree's root mount has none.</summary>
    public Path ParentDirectory { get; }

    /// <summary>The covered name. It need not exist below: a mount shows in a directory that has no such entry.</summary>
    public string Name { get; }

    /// <summary>Writes give EROFS.</summary>
    public bool ReadOnly { get; }

    /// <summary>The first column of /proc/mounts.</summary>
    public string Source { get; internal init; } = "none";

    /// <summary>Mounts that cover names in this mount's directories.</summary>
    internal Dictionary<(Dentry Directory, string Name), Mount> Children { get; } = [];
}

/// <summary>A kind of file system, one instance a mount source.</summary>
public abstract class Filesystem(Machine machine, uint minor)
{
    private long _lastInode;

    public Machine Machine { get; } = machine;

    /// <summary>st_dev: an anonymous device number, or the host's for granted trees.</summary>
    public ulong Device { get; protected init; } = DeviceNumber.Make(0, minor);

    /// <summary>The name in /proc/mounts and /proc/filesystems.</summary>
    public abstract string TypeName { get; }

    /// <summary>statfs's f_type.</summary>
    public abstract ulong Magic { get; }

    public Dentry Root { get; protected set; } = null!;

    internal ulong NextInode() => (ulong)Interlocked.Increment(ref _lastInode);

    public virtual long GetStatistics(Dentry dentry, out FilesystemStatistics statistics)
    {
        statistics = new FilesystemStatistics { BlockSize = 4096 };
        return 0;
    }

    /// <summary>How readlink in /proc/PID/fd shows an open file of this file system.</summary>
    internal virtual string DisplayName(Path path) => Machine.Vfs.PathName(path);
}

/// <summary>statfs's figures, in blocks.</summary>
public struct FilesystemStatistics
{
    public long BlockSize;
    public ulong Blocks;
    public ulong FreeBlocks;
    public ulong Files;
    public ulong FreeFiles;
}

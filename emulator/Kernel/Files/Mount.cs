namespace Emulator.Kernel.Files;

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
    /// <remarks>Replaced by a copy for each new mount, so that walks read it without a lock.</remarks>
    internal Dictionary<(Dentry Directory, string Name), Mount> Children { get; private set; } = [];

    internal void Add(Dentry directory, string name, Mount child) =>
        Children = new Dictionary<(Dentry Directory, string Name), Mount>(Children) { [(directory, name)] = child };
}

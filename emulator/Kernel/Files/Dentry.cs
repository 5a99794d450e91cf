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

    /// <summary>What the name, and what it stands for, has been counted as; 0 for those that a machine starts with.</summary>
    internal long Cost { get; set; }

    /// <summary>The name was removed while somebody still held it; paths show " (deleted)".</summary>
    public bool IsUnlinked { get; private set; }

    /// <summary>rename moved the name; called by the file system under its own lock.</summary>
    internal void Move(Dentry parent, string name)
    {
        Parent = parent;
        Name = name;
    }

    internal void MarkUnlinked() => IsUnlinked = true;

    internal bool IsDeeperThan(int levels)
    {
        Dentry? at = Parent;
        while (at is not null && levels-- > 0)
            at = at.Parent;
        return at is not null;
    }

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

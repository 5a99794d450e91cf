using System.Text;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Proc;

/// <summary>An entry of a generated directory: what it is, and how to make its inode for a reader.</summary>
internal sealed record ProcEntry(string Name, uint Type, Func<Inode> Make);

/// <summary>A directory whose entries are made when they are looked up: a fixed list, and numbers (processes, threads, descriptors).</summary>
internal sealed class ProcDirectory(Filesystem fs, uint uid, uint gid, IReadOnlyList<ProcEntry> entries) : MemoryInode(fs, S_IFDIR | 0x16D, uid, gid)
{
    /// <summary>The numbers that exist now; null where there are none.</summary>
    public Func<Task, int[]>? Numbers { get; init; }

    /// <summary>The inode for a number, or null if it is gone.</summary>
    public Func<Task, int, Inode?>? ByNumber { get; init; }

    public uint NumberType { get; init; } = S_IFDIR;

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = new DirectoryFile(flags) { Path = path };
        return 0;
    }

    public override long Lookup(Task task, Dentry self, string name, out Dentry? child)
    {
        Inode? inode = null;
        foreach (ProcEntry entry in entries)
        {
            if (string.Equals(entry.Name, name, StringComparison.Ordinal))
            {
                inode = entry.Make();
                break;
            }
        }
        if (inode is null && ByNumber is not null && TryParse(name, out int number))
            inode = ByNumber(task, number);
        child = inode is null ? null : new Dentry(Filesystem, self, name, inode);
        return inode is null ? -Errno.ENOENT : 0;
    }

    private static bool TryParse(string name, out int number)
    {
        number = 0;
        return (name is "0" || name[0] is >= '1' and <= '9')
            && int.TryParse(name, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out number);
    }

    public override long List(Task task, Dentry self, List<DirectoryEntry> to)
    {
        ulong number = Number << 16;
        foreach (ProcEntry entry in entries)
            to.Add(new DirectoryEntry(entry.Name, ++number, DirectoryType(entry.Type)));
        foreach (int n in Numbers?.Invoke(task) ?? [])
            to.Add(new DirectoryEntry(n.ToString(System.Globalization.CultureInfo.InvariantCulture), ++number, DirectoryType(NumberType)));
        return 0;
    }
}

/// <summary>A file whose text is made when it is read from the start.</summary>
internal sealed class ProcText(Filesystem fs, uint permissions, uint uid, uint gid, Func<Task, string> text) : MemoryInode(fs, S_IFREG | permissions, uid, gid)
{
    /// <summary>Takes what is written, in one piece; null for files that cannot be written.</summary>
    public Func<Task, string, long>? Store { get; init; }

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = new TextFile(this, flags) { Path = path };
        return 0;
    }

    protected override long Resize(Task task, long size) => 0;

    private sealed class TextFile(ProcText inode, int flags) : OpenFile(flags)
    {
        private byte[]? _text;

        public override bool IsSeekable => true;

        internal override bool CanPoll => false;

        public override long Read(Task task, Span<byte> buffer, ref long position)
        {
            // pread holds no lock: another thread may have the text made anew, and shorter.
            byte[]? text = Volatile.Read(ref _text);
            if (text is null || position == 0)
            {
                text = Encoding.Latin1.GetBytes(inode.TextFor(task));
                if (!TryKeep(text.Length))
                    return -Errno.ENOMEM;
                Volatile.Write(ref _text, text);
            }
            if (position >= text.Length)
                return 0;
            int n = Math.Min(buffer.Length, text.Length - (int)position);
            text.AsSpan((int)position, n).CopyTo(buffer);
            position += n;
            return n;
        }

        public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position)
        {
            if (inode.Store is null)
                return -Errno.EIO;
            long r = inode.Store(task, Encoding.Latin1.GetString(buffer));
            return r < 0 ? r : buffer.Length;
        }

        public override long Seek(Task task, long offset, int whence) =>
            whence == SEEK_END ? -Errno.EINVAL : FileSeek.Apply(this, offset, whence, 0);

        public override long Truncate(Task task, long length) => 0;
    }

    private string TextFor(Task task) => text(task);
}

/// <summary>A symbolic link that is computed, and that may lead to an object instead of a name.</summary>
internal sealed class ProcLink(Filesystem fs, uint uid, uint gid, Func<Task, string?> target) : MemoryInode(fs, S_IFLNK | S_IRWXUGO, uid, gid)
{
    public Func<Task, Path?>? Follow { get; init; }

    public override long ReadLink(Task task, Dentry self, out string result)
    {
        result = target(task) ?? "";
        return result.Length == 0 ? -Errno.ENOENT : 0;
    }

    internal override bool TryFollow(Task task, Dentry self, out Path path)
    {
        path = default;
        if (Follow is null)
            return false;
        path = Follow(task) ?? default;
        return true;
    }
}

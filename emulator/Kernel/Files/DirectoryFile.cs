using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>An open directory. The entries are taken when reading begins, so that cursors stay good while names come and go.</summary>
internal sealed class DirectoryFile(int flags) : OpenFile(flags)
{
    private List<DirectoryEntry>? _entries;

    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    public override long Read(Task task, Span<byte> buffer, ref long position) => -Errno.EISDIR;

    public override long Seek(Task task, long offset, int whence)
    {
        long target = whence switch { SEEK_SET => offset, SEEK_CUR => Position + offset, SEEK_END => long.MaxValue, _ => -1 };
        if (target < 0)
            return -Errno.EINVAL;
        if (target == 0)
        {
            _entries = null;
            TryKeep(0);
        }
        return Position = target;
    }

    public override long Sync(Task task) => 0;

    /// <summary>The entry at the cursor; <see cref="OpenFile.Position"/> moves on by <see cref="Advance"/>.</summary>
    /// <returns>1 with an entry, 0 at the end, or a negative error.</returns>
    internal long Peek(Task task, out DirectoryEntry entry)
    {
        entry = default;
        if (_entries is null)
        {
            var entries = new List<DirectoryEntry>();
            long r = task.Machine.Vfs.ListDirectory(task, Path, entries);
            if (r < 0)
                return r;
            if (!TryKeep(CostOf(entries)))
                return -Errno.ENOMEM;
            _entries = entries;
        }
        if (Position >= _entries.Count)
            return 0;
        // In bounds: compared above, and never negative (Seek).
        entry = _entries[(int)Position];
        return 1;
    }

    private static long CostOf(List<DirectoryEntry> entries)
    {
        const int Each = 64;
        long cost = 0;
        foreach (DirectoryEntry entry in entries)
            cost += Each + entry.Name.Length * sizeof(char);
        return cost;
    }

    internal void Advance() => Position++;
}

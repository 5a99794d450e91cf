using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Mirrors.Mshare;

/// <summary>A regular file of msharefs: a name for a region, which ends with the last name, descriptor and mapping.</summary>
internal sealed class MshareInode(MshareFs fs, uint mode, uint uid, uint gid, MshareRegion region) : MemoryInode(fs, mode, uid, gid), ICountedInode
{
    // Guarded by the file system's tree lock.
    private int _openCount;
    private bool _evicted;

    public override long Open(Task task, Files.Path path, int flags, out OpenFile? file)
    {
        file = null;
        lock (fs.Tree)
        {
            if (_evicted)
                return -Errno.ENOENT;
            _openCount++;
        }
        file = new MshareFile(region, flags) { Path = path };
        return 0;
    }

    /// <summary>A region's size is set by ioctl alone; what simple_setattr would store has no meaning.</summary>
    protected override long Resize(Task task, long size) => 0;

    internal override void Opened()
    {
        lock (fs.Tree)
            _openCount++;
    }

    internal override void Closed()
    {
        lock (fs.Tree)
            _openCount--;
        FreeIfUnused();
    }

    public void FreeIfUnused()
    {
        lock (fs.Tree)
        {
            if (_evicted || LinkCount != 0 || _openCount != 0)
                return;
            _evicted = true;
        }
        region.Tables.Host.Put(Filesystem.Machine.CurrentTask);
    }
}

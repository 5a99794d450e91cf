using System.Globalization;
using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Mirrors;

/// <summary>The nameless inode of a buffer; stat tells its size.</summary>
internal sealed class DmaBufInode(AnonymousFilesystem fs, uint uid, uint gid, DmaBuf buffer) : MemoryInode(fs, S_IFREG | 0x180, uid, gid)
{
    public override long Size => (long)buffer.Size;
}

/// <summary>A buffer as a descriptor (dma_buf_fops).</summary>
internal sealed class DmaBufFile(DmaBuf buffer, int flags) : OpenFile(flags)
{
    /// <summary>DMA_BUF_NAME_LEN, the zero at the end included.</summary>
    private const int NameLength = 32;

    public DmaBuf Buffer => buffer;

    public override bool IsSeekable => true;

    public override PageCache? Mapping => buffer.Exporter.Mapping;

    public override string DisplayName => $"/dmabuf:{buffer.Name}";

    /// <summary>A new descriptor's file (dma_buf_getfile).</summary>
    public static DmaBufFile Create(Task task, DmaBuf buffer)
    {
        AnonymousFilesystem fs = task.Machine.Vfs.DmaBufFiles;
        var inode = new DmaBufInode(fs, task.Credentials.EffectiveUid, task.Credentials.EffectiveGid, buffer);
        return new DmaBufFile(buffer, O_RDWR) { Path = fs.Add(inode, "/dmabuf:") };
    }

    /// <summary>dma_buf_llseek: how long the buffer is, and nothing else.</summary>
    public override long Seek(Task task, long offset, int whence) =>
        whence is not (SEEK_SET or SEEK_END) || offset != 0 ? -Errno.EINVAL : whence == SEEK_END ? (long)buffer.Size : 0;

    /// <summary>Readable: no device writes to it; writable: none uses it at all (dma_buf_poll).</summary>
    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(buffer.Resv.Changed);
        return (buffer.Resv.IsIdle(DmaResvUsage.Write) ? PollEvents.Readable : 0) | (buffer.Resv.IsIdle(DmaResvUsage.Read) ? PollEvents.Writable : 0);
    }

    public override long Ioctl(Task task, uint command, ulong argument)
    {
        using OperationScope operation = task.Operation("dma-buf ioctl");
        return (DmaBufIoctl)command switch
        {
            DmaBufIoctl.Sync => Sync(task, argument),
            DmaBufIoctl.SetNameA or DmaBufIoctl.SetNameB => SetName(task, argument),
            DmaBufIoctl.ExportSyncFile => ExportSyncFile(task, argument),
            DmaBufIoctl.ImportSyncFile => ImportSyncFile(task, argument),
            _ => -Errno.ENOTTY,
        };
    }

    private long Sync(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out DmaBufSync flags))
            return -Errno.EFAULT;
        if ((flags & ~DmaBufSync.Valid) != 0)
            return -Errno.EINVAL;
        DmaDirection direction;
        switch (flags & DmaBufSync.ReadWrite)
        {
            case DmaBufSync.Read:
                direction = DmaDirection.FromDevice;
                break;
            case DmaBufSync.Write:
                direction = DmaDirection.ToDevice;
                break;
            case DmaBufSync.ReadWrite:
                direction = DmaDirection.Bidirectional;
                break;
            default:
                return -Errno.EINVAL;
        }
        return buffer.CpuAccess(task, direction, begin: (flags & DmaBufSync.End) == 0);
    }

    /// <summary>dma_buf_set_name; refused while devices are attached until 5.x, allowed since.</summary>
    private long SetName(Task task, ulong argument)
    {
        // In bounds: read byte by byte until so many.
        Span<byte> bytes = stackalloc byte[NameLength];
        int length = 0;
        for (; length < NameLength; length++)
        {
            if (!task.TryRead(argument + (ulong)length, out bytes[length]))
                return -Errno.EFAULT;
            if (bytes[length] == 0)
                break;
        }
        if (length == NameLength)
            return -Errno.EINVAL;
        buffer.Name = Encoding.Latin1.GetString(bytes[..length]);
        return 0;
    }

    private long ExportSyncFile(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out DmaBufSyncFile arg))
            return -Errno.EFAULT;
        if ((arg.Flags & ~(uint)DmaBufSync.ReadWrite) != 0 || (arg.Flags & (uint)DmaBufSync.ReadWrite) == 0)
            return -Errno.EINVAL;
        DmaFence[] fences = buffer.Resv.Pending(DmaResv.Before((arg.Flags & (uint)DmaBufSync.Write) != 0));
        var file = new SyncFile(fences) { Path = task.Machine.Vfs.Anonymous.Add(new MemoryInode(task.Machine.Vfs.Anonymous, 0x180, 0, 0), "anon_inode:sync_file") };
        long fd = DescriptorSyscalls.Install(task, file, O_CLOEXEC);
        if (fd < 0)
            return fd;
        arg.Fd = (int)fd;
        if (task.TryWrite(argument, arg))
            return 0;
        task.Files.Close(task, (int)fd);
        return -Errno.EFAULT;
    }

    private long ImportSyncFile(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out DmaBufSyncFile arg))
            return -Errno.EFAULT;
        if ((arg.Flags & ~(uint)DmaBufSync.ReadWrite) != 0 || (arg.Flags & (uint)DmaBufSync.ReadWrite) == 0)
            return -Errno.EINVAL;
        using FileReference reference = task.Files.Get(arg.Fd);
        if (reference.File is not SyncFile sync)
            return -Errno.EINVAL;
        DmaResvUsage usage = (arg.Flags & (uint)DmaBufSync.Write) != 0 ? DmaResvUsage.Write : DmaResvUsage.Read;
        using Tasks.Locks.Mutex.Scope scope = buffer.Resv.Lock.Enter(task);
        foreach (DmaFence fence in sync.Fences)
            buffer.Resv.Add(fence, usage);
        return 0;
    }

    internal override void DescribeTo(StringBuilder text)
    {
        text.Append(CultureInfo.InvariantCulture, $"size:\t{buffer.Size}\ncount:\t{ReferenceCount - 1}\nexp_name:\t{buffer.ExporterName}\n");
        if (buffer.Name is { } name)
            text.Append(CultureInfo.InvariantCulture, $"name:\t{name}\n");
    }

    protected override void Release() => buffer.Release(buffer.Machine.CurrentTask);
}

using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>An open /dev/hmm_dmirror*: a device that shares the address space of whoever opened it (lib/test_hmm.c).</summary>
internal sealed class DmirrorFile : OpenFile
{
    /// <summary>The first of the numbers that the kernel gives to drivers without one of their own.</summary>
    public const uint Major = 254;

    private readonly DmirrorDevice _device;
    private readonly Dmirror _mirror;

    private DmirrorFile(DmirrorDevice device, Dmirror mirror, int flags)
        : base(flags)
    {
        _device = device;
        _mirror = mirror;
        device.Add(mirror);
    }

    /// <summary>dmirror_fops_open.</summary>
    public static long Open(Task task, Files.Path path, DmirrorDevice device, int flags, out OpenFile? file)
    {
        var mirror = new Dmirror(device, task.Mm);
        int error = mirror.Insert(task, task.Mm, 0, ulong.MaxValue & ~0xFFFUL);
        file = error == 0 ? new DmirrorFile(device, mirror, flags) { Path = path } : null;
        return error;
    }

    /// <summary>dmirror_fops_unlocked_ioctl. The command goes back to the program only when all went well.</summary>
    public override long Ioctl(Task task, uint command, ulong argument)
    {
        if (!task.TryRead(argument, out DmirrorCommand cmd))
            return -Errno.EFAULT;
        ulong end = cmd.Address + (cmd.Pages << 12);
        if (!Layout.IsPageAligned(cmd.Address) || cmd.Address >= end)
            return -Errno.EINVAL;
        cmd.DonePages = 0;
        cmd.Faults = 0;
        using OperationScope operation = task.Operation("hmm_dmirror ioctl", cmd.Address, end);
        long error = (DmirrorIoctl)command switch
        {
            DmirrorIoctl.Read => _mirror.Read(task, ref cmd),
            DmirrorIoctl.Write => _mirror.Write(task, ref cmd),
            DmirrorIoctl.MigrateToDev => _mirror.MigrateToDevice(task, ref cmd),
            DmirrorIoctl.MigrateToSys => _mirror.MigrateToSystem(task, ref cmd),
            DmirrorIoctl.Exclusive => _mirror.MakeExclusive(task, ref cmd),
            DmirrorIoctl.CheckExclusive => _mirror.CheckExclusive(task, cmd),
            DmirrorIoctl.Release => _device.ReleaseMemory(task),
            DmirrorIoctl.Snapshot => _mirror.Snapshot(task, ref cmd),
            _ => -Errno.EINVAL,
        };
        if (error != 0)
            return error;
        return task.TryWrite(argument, cmd) ? 0 : -Errno.EFAULT;
    }

    internal override PageCache CreateMapping(PageAllocator pages, ulong bytes) => new DriverPages(pages, bytes);

    /// <summary>dmirror_fops_release.</summary>
    protected override void Release() => _mirror.Close();
}

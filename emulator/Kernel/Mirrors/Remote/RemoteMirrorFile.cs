using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>An open /dev/remote-mirror: a window on another process, once it is attached.</summary>
/// <remarks>
/// In bounds: a window lies in user space, and a page of it is compared with its size; nothing is allocated for pages that nobody has asked for, and those are counted in the kernel's memory.
/// </remarks>
internal sealed class RemoteMirrorFile : OpenFile
{
    /// <summary>The number of miscellaneous devices, and one of those that are given out.</summary>
    public const uint Major = 10, Minor = 124;

    private readonly Machine _machine;
    private readonly Mm _client;
    private RemoteMirror? _mirror;

    public RemoteMirrorFile(Task task, int flags)
        : base(flags)
    {
        _machine = task.Machine;
        _client = task.Mm;
    }

    public override PageCache? Mapping => Volatile.Read(ref _mirror)?.Mapping;

    public override long Ioctl(Task task, uint command, ulong argument)
    {
        using OperationScope operation = task.Operation("remote-mirror ioctl");
        if (task.Mm != _client)
            return -Errno.EINVAL;
        return (RemoteMirrorIoctl)command switch
        {
            RemoteMirrorIoctl.Attach => Attach(task, argument),
            RemoteMirrorIoctl.Stats => Volatile.Read(ref _mirror) is not { } mirror ? -Errno.EINVAL : task.TryWrite(argument, mirror.Stats) ? 0 : -Errno.EFAULT,
            _ => -Errno.ENOTTY,
        };
    }

    private long Attach(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out RemoteMirrorAttach attach))
            return -Errno.EFAULT;
        if (attach.Flags != 0 || attach.Length == 0 || !Layout.IsPageAligned(attach.Start | attach.Length) || !UserAccess.IsUserRange(attach.Start, attach.Length))
            return -Errno.EINVAL;
        int found = RemoteTarget.Find(_machine, attach.Pid, out Mm? target);
        if (found != 0)
            return found;
        long error = target == _client ? -Errno.EINVAL : Attach(task, target!, attach);
        target!.Put(task);
        return error;
    }

    private long Attach(Task task, Mm target, in RemoteMirrorAttach attach)
    {
        var mirror = new RemoteMirror(_machine, _client, target, attach.Start, attach.Length);
        int error = mirror.Begin(task);
        if (error == 0 && Interlocked.CompareExchange(ref _mirror, mirror, null) is null)
            return 0;
        mirror.End(task);
        return error != 0 ? error : -Errno.EBUSY;
    }

    protected override void Release() => _mirror?.End(_machine.CurrentTask);
}

/// <summary>How both devices find whom they are told to look at.</summary>
internal static class RemoteTarget
{
    /// <summary>The address space of a thread, with a user counted. -ESRCH: no such thread; -EINVAL: it has none any more.</summary>
    public static int Find(Machine machine, uint pid, out Mm? target)
    {
        target = null;
        Task? found = pid <= int.MaxValue ? machine.Processes.FindTask((int)pid) : null;
        if (found is null)
            return -Errno.ESRCH;
        if (found.Mm is not { } mm || !mm.TryGet())
            return -Errno.EINVAL;
        target = mm;
        return 0;
    }
}

using Emulator.Kernel.Files;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Mirrors;

/// <summary>The devices, by minor number.</summary>
internal enum ImporterKind
{
    Static,
    Dynamic,
    Engine,
}

/// <summary>An open /dev/dmabuf_importer*: a device with the buffers that it is attached to.</summary>
internal sealed class ImporterFile : OpenFile
{
    public const uint Major = 254, FirstMinor = 16, Count = 3;

    private const int MostAttachments = 1024, Piece = 64 << 10;

    private static readonly Tasks.Locks.LockClass FileClass = new("dmabuf_importer");

    private readonly Machine _machine;
    private readonly ImporterKind _kind;
    private readonly Dictionary<uint, ImporterUse> _uses = [];
    private readonly DmaEngine? _engine;

    /// <summary>Serialises what changes attachments and what uses them.</summary>
    private readonly Tasks.Locks.Mutex _lock = new(FileClass);

    private uint _lastHandle;
    private ImporterStats _gone;

    private ImporterFile(Machine machine, uint number, int flags)
        : base(flags)
    {
        _machine = machine;
        _kind = (ImporterKind)number;
        _engine = _kind == ImporterKind.Engine ? new DmaEngine(machine) : null;
    }

    /// <summary>0; -EAGAIN: the machine has no room for the task that an engine has.</summary>
    public static int Open(Machine machine, Files.Path path, uint number, int flags, out OpenFile? file)
    {
        var made = new ImporterFile(machine, number, flags) { Path = path };
        int error = made._engine?.Start() ?? 0;
        file = error == 0 ? made : null;
        return error;
    }

    public override long Ioctl(Task task, uint command, ulong argument)
    {
        using OperationScope operation = task.Operation("dmabuf_importer ioctl");
        switch ((ImporterIoctl)command)
        {
            // These wait for what other commands may bring about.
            case ImporterIoctl.Wait:
                return Wait(task, argument);
            case ImporterIoctl.Frame:
                return Frame(task, argument);
        }
        using Tasks.Locks.Mutex.Scope scope = _lock.Enter(task);
        return (ImporterIoctl)command switch
        {
            ImporterIoctl.Attach => Attach(task, argument),
            ImporterIoctl.Detach => Detach(task, argument),
            ImporterIoctl.Transfer => Transfer(task, argument),
            ImporterIoctl.Submit => Submit(task, argument),
            ImporterIoctl.Scanout => Scanout(task, argument),
            ImporterIoctl.Stats => Stats(task, argument),
            _ => -Errno.ENOTTY,
        };
    }

    private long Attach(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out ImporterAttach attach))
            return -Errno.EFAULT;
        if (attach.Flags != 0)
            return -Errno.EINVAL;
        using FileReference reference = task.Files.Get(attach.Fd);
        if (reference.File is null)
            return -Errno.EBADF;
        if (reference.File is not DmaBufFile file)
            return -Errno.EINVAL;
        if (_uses.Count == MostAttachments)
            return -Errno.ENOSPC;
        int error = ImporterUse.Attach(task, file, $"dmabuf_importer{(int)_kind}", dynamic: _kind != ImporterKind.Static, out ImporterUse? use);
        if (error != 0)
            return error;
        _uses.Add(++_lastHandle, use!);
        attach.Size = file.Buffer.Size;
        attach.Handle = _lastHandle;
        return task.TryWrite(argument, attach) ? 0 : -Errno.EFAULT;
    }

    private long Detach(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out uint handle))
            return -Errno.EFAULT;
        if (!_uses.Remove(handle, out ImporterUse? use))
            return -Errno.ENOENT;
        Detach(task, use);
        return 0;
    }

    private void Detach(Task? task, ImporterUse use)
    {
        if (task is not null && _engine?.Shows(use) == true)
            _engine.Show(task, null);
        Add(ref _gone, use);
        use.Detach(task);
    }

    private int Check(in ImporterTransfer transfer, out ImporterUse? use)
    {
        if (!_uses.TryGetValue(transfer.Handle, out use))
            return -Errno.ENOENT;
        return transfer.Op > ImporterOp.Sum || transfer.Length == 0 || transfer.Offset >= use.Buffer.Size || transfer.Length > use.Buffer.Size - transfer.Offset ? -Errno.EINVAL : 0;
    }

    private long Transfer(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out ImporterTransfer transfer))
            return -Errno.EFAULT;
        int error = Check(transfer, out ImporterUse? use);
        if (error != 0)
            return error;
        if (transfer.Op is ImporterOp.Fill or ImporterOp.Sum)
        {
            var job = new DmaJob(use!, transfer.Op, transfer.Offset, transfer.Length) { Value = transfer.Op == ImporterOp.Fill ? transfer.Value : 0 };
            error = Do(task, job);
            transfer.Value = job.Value;
            return error != 0 ? error : task.TryWrite(argument, transfer) ? 0 : -Errno.EFAULT;
        }
        if (!UserAccess.IsUserRange(transfer.Pointer, transfer.Length))
            return -Errno.EFAULT;
        for (ulong done = 0; done < transfer.Length;)
        {
            var job = new DmaJob(use!, transfer.Op, transfer.Offset + done, Math.Min(Piece, transfer.Length - done)) { Data = new byte[Math.Min(Piece, transfer.Length - done)] };
            if (job.Writes && !task.CopyFromUser(transfer.Pointer + done, job.Data))
                return -Errno.EFAULT;
            error = Do(task, job);
            if (error != 0)
                return error;
            if (!job.Writes && !task.CopyToUser(transfer.Pointer + done, job.Data))
                return -Errno.EFAULT;
            done += job.Length;
        }
        return 0;
    }

    private static int Do(Task task, DmaJob job)
    {
        int error = job.Use.Commit(task, job);
        if (error == 0)
            job.Use.Execute(task, job);
        return error;
    }

    private long Submit(Task task, ulong argument)
    {
        if (_engine is null)
            return -Errno.EINVAL;
        if (!task.TryRead(argument, out ImporterTransfer transfer))
            return -Errno.EFAULT;
        int error = Check(transfer, out ImporterUse? use);
        if (error != 0)
            return error;
        if (transfer.Op is not (ImporterOp.Fill or ImporterOp.Sum))
            return -Errno.EINVAL;
        if (_engine.IsFull)
            return -Errno.EAGAIN;
        var job = new DmaJob(use!, transfer.Op, transfer.Offset, transfer.Length) { Value = transfer.Op == ImporterOp.Fill ? transfer.Value : 0 };
        error = use!.Commit(task, job);
        if (error != 0)
            return error;
        transfer.Job = _engine.Submit(job);
        return task.TryWrite(argument, transfer) ? 0 : -Errno.EFAULT;
    }

    private long Wait(Task task, ulong argument)
    {
        if (_engine is null)
            return -Errno.EINVAL;
        if (!task.TryRead(argument, out ImporterWait wait))
            return -Errno.EFAULT;
        if (_engine.Find(wait.Job) is not { } job)
            return -Errno.ENOENT;
        long deadline = _machine.Clock.MonotonicNs + wait.TimeoutMs * Clock.Millisecond;
        switch (job.Fence.Wait(task, _machine.DmaBufs.FenceMap, interruptible: true, deadline))
        {
            case WaitResult.TimedOut:
                return -Errno.ETIME;
            case WaitResult.Interrupted:
                return -Errno.ERESTARTSYS;
        }
        _engine.Forget(wait.Job);
        wait.Value = job.Value;
        wait.Error = job.Fence.Error;
        return task.TryWrite(argument, wait) ? 0 : -Errno.EFAULT;
    }

    private long Scanout(Task task, ulong argument)
    {
        if (_engine is null)
            return -Errno.EINVAL;
        if (!task.TryRead(argument, out ImporterScanout scanout))
            return -Errno.EFAULT;
        if (scanout.Run == 0)
            return _engine.Show(task, null);
        int error = Check(new ImporterTransfer { Handle = scanout.Handle, Op = ImporterOp.Sum, Offset = scanout.Offset, Length = scanout.Length }, out ImporterUse? use);
        return error != 0 ? error : _engine.Show(task, (use!, scanout.Offset, scanout.Length));
    }

    private long Frame(Task task, ulong argument)
    {
        if (_engine is not { IsShowing: true })
            return -Errno.EINVAL;
        if (_engine.NextFrame(task, out ImporterFrame frame) != WaitResult.Ok)
            return -Errno.ERESTARTSYS;
        return task.TryWrite(argument, frame) ? 0 : -Errno.EFAULT;
    }

    private long Stats(Task task, ulong argument)
    {
        ImporterStats stats = _gone;
        foreach (ImporterUse use in _uses.Values)
            Add(ref stats, use);
        DmaBufs all = _machine.DmaBufs;
        (stats.IotlbHits, stats.IotlbMisses, stats.IotlbFlushes) =
            ((ulong)all[DmaBufCounter.IotlbHits], (ulong)all[DmaBufCounter.IotlbMisses], (ulong)all[DmaBufCounter.IotlbFlushes]);
        return task.TryWrite(argument, stats) ? 0 : -Errno.EFAULT;
    }

    private static void Add(ref ImporterStats stats, ImporterUse use)
    {
        stats.Maps += use.Maps;
        stats.MoveNotifies += use.MoveNotifies;
        stats.Revokes += use.Revokes;
        stats.Jobs += use.Jobs;
        stats.Orphans += use.Orphans;
    }

    protected override void Release()
    {
        Task? task = _machine.CurrentTask;
        _engine?.Stop(task);
        foreach (ImporterUse use in _uses.Values)
            use.Detach(task);
    }
}

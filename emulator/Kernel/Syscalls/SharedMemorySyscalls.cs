using System.Buffers.Binary;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>System V shared memory.</summary>
internal static class SharedMemorySyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(29, "shmget", "hex,size,hex", Get),
        new(30, "shmat", "int,ptr,hex", Attach),
        new(31, "shmctl", "int,int,ptr", Control),
        new(67, "shmdt", "ptr", Detach),
    ];

    private const int IPC_RMID = 0, IPC_SET = 1, IPC_STAT = 2, IPC_INFO = 3, SHM_LOCK = 11, SHM_UNLOCK = 12, SHM_STAT = 13, SHM_INFO = 14, SHM_STAT_ANY = 15;
    private const int StatSize = 112, ModeDestroyed = 0x200;

    private static SysvSharedMemory Segments(Task task) => task.Machine.MemorySystem.SysvSharedMemory;

    private static long Get(Task task, in SyscallArgs a) => Segments(task).Get(task, task.Machine.Pages, (int)a.A0, a.A1, (int)a.A2);

    private static long Attach(Task task, in SyscallArgs a)
    {
        if ((int)a.A0 < 0 || Segments(task).Find((int)a.A0) is not { } segment)
            return -Errno.EINVAL;
        long result = task.Mm.AttachSegment(task, segment, a.A1, (int)a.A2);
        if (result >= 0)
        {
            segment.AttachTime = Segments(task).Now(task);
            segment.LastPid = task.Process.Pid;
        }
        return result;
    }

    private static long Detach(Task task, in SyscallArgs a)
    {
        long result = task.Mm.DetachSegment(task, a.A0, out SysvSegment? segment);
        if (segment is not null)
        {
            segment.DetachTime = Segments(task).Now(task);
            segment.LastPid = task.Process.Pid;
        }
        return result;
    }

    private static long Control(Task task, in SyscallArgs a)
    {
        (int id, int command, ulong buffer) = ((int)a.A0, (int)a.A1, a.A2);
        if (command < 0 || id < 0)
            return -Errno.EINVAL;
        switch (command)
        {
            case IPC_INFO:
                return WriteLimits(task, buffer);
            case SHM_INFO:
                return WriteUsage(task, buffer);
            case SHM_STAT or SHM_STAT_ANY:
                SysvSegment[] all = Segments(task).Snapshot();
                return id >= all.Length ? -Errno.EINVAL : WriteStat(task, all[id], buffer) is var error and < 0 ? error : all[id].Id;
        }
        if (Segments(task).Find(id) is not { } segment)
            return -Errno.EINVAL;
        switch (command)
        {
            case IPC_STAT:
                return WriteStat(task, segment, buffer);
            case IPC_RMID:
                segment.Destroy();
                return 0;
            case IPC_SET:
                Span<byte> stat = stackalloc byte[StatSize];
                if (!task.CopyFromUser(buffer, stat))
                    return -Errno.EFAULT;
                segment.OwnerUid = BinaryPrimitives.ReadUInt32LittleEndian(stat[4..]);
                segment.OwnerGid = BinaryPrimitives.ReadUInt32LittleEndian(stat[8..]);
                segment.Mode = (int)BinaryPrimitives.ReadUInt32LittleEndian(stat[20..]) & 0x1FF;
                segment.ChangeTime = Segments(task).Now(task);
                return 0;
            case SHM_LOCK or SHM_UNLOCK:
                return 0; // Nothing is ever swapped out.
            default:
                return -Errno.EINVAL;
        }
    }

    /// <summary>struct shmid64_ds.</summary>
    private static long WriteStat(Task task, SysvSegment segment, ulong buffer)
    {
        Span<byte> stat = stackalloc byte[StatSize];
        stat.Clear();
        Put32(stat, 0, (uint)segment.Key);
        Put32(stat, 4, segment.OwnerUid);
        Put32(stat, 8, segment.OwnerGid);
        Put32(stat, 12, segment.CreatorUid);
        Put32(stat, 16, segment.CreatorGid);
        Put32(stat, 20, (uint)(segment.Mode | (segment.IsDestroyed ? ModeDestroyed : 0)));
        Put64(stat, 48, segment.Size);
        Put64(stat, 56, (ulong)segment.AttachTime);
        Put64(stat, 64, (ulong)segment.DetachTime);
        Put64(stat, 72, (ulong)segment.ChangeTime);
        Put32(stat, 80, (uint)segment.CreatorPid);
        Put32(stat, 84, (uint)segment.LastPid);
        Put64(stat, 88, (ulong)segment.Attachments);
        return task.CopyToUser(buffer, stat) ? 0 : -Errno.EFAULT;
    }

    /// <summary>struct shminfo64.</summary>
    private static long WriteLimits(Task task, ulong buffer)
    {
        Span<byte> info = stackalloc byte[72];
        info.Clear();
        Put64(info, 0, SysvSharedMemory.MaxSize);
        Put64(info, 8, 1);
        Put64(info, 16, SysvSharedMemory.MaxSegments);
        Put64(info, 24, SysvSharedMemory.MaxSegments);
        Put64(info, 32, SysvSharedMemory.MaxSize);
        return task.CopyToUser(buffer, info) ? LastIndex(task) : -Errno.EFAULT;
    }

    /// <summary>struct shm_info.</summary>
    private static long WriteUsage(Task task, ulong buffer)
    {
        Span<byte> info = stackalloc byte[48];
        info.Clear();
        ulong total = 0, resident = 0;
        SysvSegment[] all = Segments(task).Snapshot();
        foreach (SysvSegment segment in all)
        {
            total += Layout.PageAlign(segment.Size) >> 12;
            resident += (ulong)segment.Cache.ResidentPages;
        }
        Put32(info, 0, (uint)all.Length);
        Put64(info, 8, total);
        Put64(info, 16, resident);
        return task.CopyToUser(buffer, info) ? LastIndex(task) : -Errno.EFAULT;
    }

    private static long LastIndex(Task task) => Math.Max(0, Segments(task).Snapshot().Length - 1);

    private static void Put32(Span<byte> at, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(at[offset..], value);

    private static void Put64(Span<byte> at, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(at[offset..], value);
}

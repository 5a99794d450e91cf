using System.Buffers;
using System.Buffers.Binary;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>The system calls about address spaces.</summary>
internal static class MemorySyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(9, "mmap", "ptr,size,prot,mapflags,fd,hex", Mmap),
        new(10, "mprotect", "ptr,size,prot", Mprotect),
        new(11, "munmap", "ptr,size", static (Task t, in SyscallArgs a) => t.Mm.Munmap(t, a.A0, a.A1)),
        new(12, "brk", "ptr", static (Task t, in SyscallArgs a) => t.Mm.Brk(t, a.A0)),
        new(25, "mremap", "ptr,size,size,hex,ptr", static (Task t, in SyscallArgs a) => t.Mm.Mremap(t, a.A0, a.A1, a.A2, (int)a.A3, a.A4)),
        new(26, "msync", "ptr,size,hex", static (Task t, in SyscallArgs a) => t.Mm.Msync(t, a.A0, a.A1, (int)a.A2)),
        new(27, "mincore", "ptr,size,ptr", Mincore),
        new(28, "madvise", "ptr,size,int", static (Task t, in SyscallArgs a) => t.Mm.Madvise(t, a.A0, a.A1, (int)a.A2)),
        new(149, "mlock", "ptr,size", static (Task t, in SyscallArgs a) => t.Mm.Mlock(t, a.A0, a.A1, onFault: false)),
        new(150, "munlock", "ptr,size", static (Task t, in SyscallArgs a) => t.Mm.Munlock(t, a.A0, a.A1)),
        new(151, "mlockall", "hex", static (Task t, in SyscallArgs a) => t.Mm.MlockAll(t, (int)a.A0)),
        new(152, "munlockall", "", static (Task t, in SyscallArgs a) => t.Mm.MunlockAll(t)),
        new(310, "process_vm_readv", "int,iovec,size,iovec,size,hex", static (Task t, in SyscallArgs a) => ProcessVm(t, a, write: false)),
        new(311, "process_vm_writev", "int,iovec,size,iovec,size,hex", static (Task t, in SyscallArgs a) => ProcessVm(t, a, write: true)),
        new(325, "mlock2", "ptr,size,hex", Mlock2),
        new(329, "pkey_mprotect", "ptr,size,prot,int", PkeyMprotect),
        new(330, "pkey_alloc", "hex,hex", static (Task t, in SyscallArgs a) => a.A0 != 0 || a.A1 > 3 ? -Errno.EINVAL : -Errno.ENOSPC),
        new(331, "pkey_free", "int", static (Task t, in SyscallArgs a) => -Errno.EINVAL),
        new(440, "process_madvise", "fd,iovec,size,int,hex", ProcessMadvise),
    ];

    private const int MaxVectors = 1024;

    private static long Mmap(Task task, in SyscallArgs a)
    {
        int flags = (int)a.A3;
        if ((a.A5 & 0xFFF) != 0)
            return -Errno.EINVAL;
        if ((flags & MAP_ANONYMOUS) != 0)
            return task.Mm.Mmap(task, a.A0, a.A1, (int)a.A2, flags, null, (flags & MAP_HUGETLB) != 0 ? a.A5 >> 12 : 0);
        using FileReference reference = task.Files.GetForIo((int)a.A4);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        return (flags & MAP_HUGETLB) != 0 && file.Mapping is not HugeTlbPageCache ? -Errno.EINVAL : task.Mm.Mmap(task, a.A0, a.A1, (int)a.A2, flags, file, a.A5 >> 12);
    }

    private static long Mprotect(Task task, in SyscallArgs a) => task.Mm.Mprotect(task, a.A0, a.A1, ProtOf(a.A2));

    /// <summary>Bits beyond an int are refused like unknown ones below.</summary>
    private static int ProtOf(ulong prot) => prot > int.MaxValue ? int.MinValue : (int)prot;

    private static long PkeyMprotect(Task task, in SyscallArgs a) => (int)a.A3 == -1 ? Mprotect(task, a) : -Errno.EINVAL;

    private static long Mlock2(Task task, in SyscallArgs a) =>
        (a.A2 & ~(ulong)MLOCK_ONFAULT) != 0 ? -Errno.EINVAL : task.Mm.Mlock(task, a.A0, a.A1, (a.A2 & MLOCK_ONFAULT) != 0);

    private static long Mincore(Task task, in SyscallArgs a)
    {
        (ulong address, ulong length, ulong vector) = (a.A0, a.A1, a.A2);
        if (!Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        if (!UserAccess.IsUserRange(address, length))
            return -Errno.ENOMEM;
        ulong pages = Layout.PageAlign(length) >> 12;
        if (!UserAccess.IsUserRange(vector, pages))
            return -Errno.EFAULT;
        Span<byte> chunk = stackalloc byte[1024];
        while (pages > 0)
        {
            Span<byte> part = chunk[..(int)Math.Min(pages, (ulong)chunk.Length)];
            long error = task.Mm.Mincore(task, address, part);
            if (error < 0)
                return error;
            if (!task.CopyToUser(vector, part))
                return -Errno.EFAULT;
            pages -= (ulong)part.Length;
            vector += (ulong)part.Length;
            address += (ulong)part.Length << 12;
        }
        return 0;
    }

    /// <summary>mm/process_vm_access.c: copies between the caller's and another process's memory, as far as it goes.</summary>
    private static long ProcessVm(Task task, in SyscallArgs a, bool write)
    {
        if (a.A5 != 0)
            return -Errno.EINVAL;
        long error = ReadVectors(task, a.A1, a.A2, out (ulong Base, ulong Length)[] local);
        if (error < 0)
            return error;
        error = ReadVectors(task, a.A3, a.A4, out (ulong Base, ulong Length)[] remote);
        if (error < 0)
            return error;
        if (Cut(local) == 0 || Array.TrueForAll(remote, static v => v.Length == 0))
            return 0;
        if (task.Machine.Processes.FindTask((int)a.A0) is not { } target || target.Mm is not { } mm || !mm.TryGet())
            return -Errno.ESRCH;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(64 << 10);
        try
        {
            return CopyVectors(task, mm, local, remote, buffer, write);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
            mm.Put(task);
        }
    }

    /// <summary>mm/madvise.c:process_madvise: bytes advised, or the error if there are none. Another process's memory wants a right that nobody has.</summary>
    private static long ProcessMadvise(Task task, in SyscallArgs a)
    {
        int advice = (int)a.A3;
        if ((uint)a.A4 != 0)
            return -Errno.EINVAL;
        long error = ReadVectors(task, a.A1, a.A2, out (ulong Base, ulong Length)[] ranges);
        if (error < 0)
            return error;
        using FileReference reference = task.Files.Get((int)a.A0);
        if (reference.File is not PidFd { Process: { } process })
            return -Errno.EBADF;
        if (task.Machine.Processes.FindTask(process.Pid) is not { } leader || leader.Process != process || process.IsZombie)
            return -Errno.ESRCH;
        if (advice is not (MADV_COLD or MADV_PAGEOUT or MADV_WILLNEED or MADV_COLLAPSE))
            return -Errno.EINVAL;
        if (leader.Mm != task.Mm)
            return -Errno.EPERM;
        long done = 0;
        foreach ((ulong start, ulong length) in ranges)
        {
            error = task.Mm.Madvise(task, start, length, advice);
            if (error < 0)
                return done > 0 ? done : error;
            done += (long)length;
        }
        return done;
    }

    private static long CopyVectors(Task task, Memory.Mm mm, (ulong Base, ulong Length)[] local, (ulong Base, ulong Length)[] remote, byte[] buffer, bool write)
    {
        long done = 0;
        int l = 0, r = 0;
        while (true)
        {
            while (l < local.Length && local[l].Length == 0)
                l++;
            while (r < remote.Length && remote[r].Length == 0)
                r++;
            if (l == local.Length || r == remote.Length)
                return done;
            int part = (int)Math.Min(Math.Min(local[l].Length, remote[r].Length), (ulong)buffer.Length);
            Span<byte> bytes = buffer.AsSpan(0, part);
            int from = write ? task.CopyFromUserPartial(local[l].Base, bytes) : mm.ReadPinned(task, remote[r].Base, bytes);
            int to = write ? mm.WritePinned(task, remote[r].Base, bytes[..from]) : task.CopyToUserPartial(local[l].Base, bytes[..from]);
            done += to;
            if (to < part)
                return done > 0 ? done : -Errno.EFAULT;
            local[l] = (local[l].Base + (ulong)part, local[l].Length - (ulong)part);
            remote[r] = (remote[r].Base + (ulong)part, remote[r].Length - (ulong)part);
        }
    }

    /// <summary>Cuts lengths so that together they are no more than one call transfers (import_iovec); how much that is.</summary>
    private static ulong Cut((ulong Base, ulong Length)[] vectors)
    {
        ulong total = 0;
        foreach (ref (ulong Base, ulong Length) vector in vectors.AsSpan())
        {
            vector.Length = Math.Min(vector.Length, FileAbi.MaxTransfer - total);
            total += vector.Length;
        }
        return total;
    }

    /// <summary>The vectors of a call.</summary>
    private static long ReadVectors(Task task, ulong address, ulong count, out (ulong Base, ulong Length)[] vectors)
    {
        vectors = [];
        if (count > MaxVectors)
            return -Errno.EINVAL;
        // In bounds: UIO_MAXIOV at most.
        byte[] bytes = new byte[count * 16];
        if (!task.CopyFromUser(address, bytes))
            return -Errno.EFAULT;
        vectors = new (ulong, ulong)[count];
        for (int i = 0; i < vectors.Length; i++)
        {
            ulong length = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(i * 16 + 8));
            if (length > long.MaxValue)
                return -Errno.EINVAL;
            vectors[i] = (BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(i * 16)), length);
        }
        return 0;
    }
}

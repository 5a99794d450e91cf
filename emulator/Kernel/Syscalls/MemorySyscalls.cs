using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Mappings (mm/mmap.c, mm/mprotect.c, mm/mlock.c).</summary>
internal static class MemorySyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(9, "mmap", "ptr,size,prot,mapflags,fd,hex", Mmap),
        new(10, "mprotect", "ptr,size,prot", static (Task t, in SyscallArgs a) => t.Mm.Mprotect(t, a.A0, a.A1, (int)a.A2)),
        new(11, "munmap", "ptr,size", static (Task t, in SyscallArgs a) => t.Mm.Munmap(t, a.A0, a.A1)),
        new(12, "brk", "ptr", static (Task t, in SyscallArgs a) => t.Mm.Brk(t, a.A0)),
        new(149, "mlock", "ptr,size", static (Task t, in SyscallArgs a) => t.Mm.Mlock(t, a.A0, a.A1, onFault: false)),
        new(150, "munlock", "ptr,size", static (Task t, in SyscallArgs a) => t.Mm.Munlock(t, a.A0, a.A1)),
        new(151, "mlockall", "int", static (Task t, in SyscallArgs a) => t.Mm.MlockAll(t, (int)a.A0)),
        new(152, "munlockall", "", static (Task t, in SyscallArgs _) => t.Mm.MunlockAll(t)),
    ];

    private static long Mmap(Task t, in SyscallArgs a)
    {
        if ((a.A5 & 0xFFF) != 0)
            return -Errno.EINVAL;
        int flags = (int)a.A3;
        if ((flags & MmanAbi.MAP_ANONYMOUS) != 0)
            return t.Mm.Mmap(t, a.A0, a.A1, (int)a.A2, flags, null, a.A5 >> 12);
        using FileReference file = t.Files.GetForIo((int)a.A4);
        return file.File is null ? -Errno.EBADF : t.Mm.Mmap(t, a.A0, a.A1, (int)a.A2, flags, file.File, a.A5 >> 12);
    }
}

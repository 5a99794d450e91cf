using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>What futexes do to user memory beyond plain reads and writes.</summary>
internal static unsafe class FutexUserAccess
{
    /// <summary>LOCK CMPXCHG on an aligned word of user memory: 1 exchanged, 0 it held something else, -EFAULT.</summary>
    internal static int CompareExchangeUser(this Task task, ulong address, uint expected, uint value)
    {
        if ((address & 3) != 0 || !task.TryTranslateUser(address, write: true, out byte* host))
            return -Errno.EFAULT;
        return Interlocked.CompareExchange(ref *(uint*)host, value, expected) == expected ? 1 : 0;
    }

    /// <summary>The object behind a shared mapping, and the offset of an address in it; null for private memory.</summary>
    internal static (object Object, ulong Offset)? SharedObjectAt(this Mm mm, Task task, ulong address)
    {
        mm.LockRead(task);
        try
        {
            return mm.Vmas.Find(address) is { IsShared: true, Cache: { } cache } vma ? (cache, (vma.PageOffset << 12) + (address - vma.Start)) : null;
        }
        finally
        {
            mm.UnlockRead();
        }
    }
}

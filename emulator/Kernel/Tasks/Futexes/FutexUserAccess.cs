using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>What futexes do to user memory beyond plain reads and writes.</summary>
internal static unsafe class FutexUserAccess
{
    /// <summary>LOCK CMPXCHG on an aligned word of user memory: 1 exchanged, 0 it held something else, -EFAULT.</summary>
    internal static int CompareExchangeUser(this Task task, ulong address, uint expected, uint value)
    {
        // In bounds: an aligned word lies in the page that is translated.
        if ((address & 3) != 0 || !task.TryTranslateUser(address, write: true, out byte* host))
            return -Errno.EFAULT;
        return Interlocked.CompareExchange(ref *(uint*)host, value, expected) == expected ? 1 : 0;
    }
}

using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>The encoded operation of FUTEX_WAKE_OP (include/uapi/linux/futex.h): what to do to the word, and how to compare its old value.</summary>
internal static class FutexOperation
{
    private const int ShiftArgument = 8;

    public static long Apply(Task task, ulong address, uint encoded, out bool wakeSecond)
    {
        wakeSecond = false;
        int operation = (int)(encoded >> 28 & 7);
        int comparison = (int)(encoded >> 24 & 15);
        int argument = (int)encoded << 8 >> 20;
        int compareWith = (int)encoded << 20 >> 20;
        if ((encoded >> 28 & ShiftArgument) != 0)
            argument = 1 << (argument & 31);
        if (operation > 4 || comparison > 5)
            return -Errno.ENOSYS;
        uint old;
        do
        {
            if (!task.TryRead(address, out old))
                return -Errno.EFAULT;
            uint changed = operation switch
            {
                0 => (uint)argument,
                1 => old + (uint)argument,
                2 => old | (uint)argument,
                3 => old & ~(uint)argument,
                _ => old ^ (uint)argument,
            };
            int exchanged = task.CompareExchangeUser(address, old, changed);
            if (exchanged < 0)
                return exchanged;
            if (exchanged == 1)
                break;
        }
        while (true);
        int value = (int)old;
        wakeSecond = comparison switch
        {
            0 => value == compareWith,
            1 => value != compareWith,
            2 => value < compareWith,
            3 => value <= compareWith,
            4 => value > compareWith,
            _ => value >= compareWith,
        };
        return 0;
    }
}

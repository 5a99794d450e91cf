using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Emulator.Kernel;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims;

/// <summary>Numbers of the system calls that actors make.</summary>
public enum SystemCall : ulong
{
    Read = 0,
    Open = 2,
    Close = 3,
    Mmap = 9,
    Mprotect = 10,
    Munmap = 11,
    Ioctl = 16,
    Mremap = 25,
    Madvise = 28,
    Unlink = 87,
}

/// <summary>System calls by actors: arguments go through their memory, as a program's do.</summary>
internal static class SystemCalls
{
    private static readonly ConditionalWeakTable<Actor, StrongBox<ulong>> Scratch = [];

    /// <summary>Makes a system call.</summary>
    /// <returns>What it returns: a negative errno for an error.</returns>
    public static long Syscall(this Actor actor, SystemCall number, params ulong[] arguments) => actor.Ask(task =>
    {
        ulong Argument(int i) => i < arguments.Length ? arguments[i] : 0;
        return task.Machine.Syscalls[(ulong)number]!.Handler(task, new SyscallArgs(Argument(0), Argument(1), Argument(2), Argument(3), Argument(4), Argument(5)));
    });

    /// <summary>Puts bytes into the actor's memory, where they stay until the next call.</summary>
    /// <returns>Their address.</returns>
    public static ulong Pass(this Actor actor, byte[] bytes)
    {
        ulong at = Scratch.GetValue(actor, static a => new StrongBox<ulong>(a.Map(1))).Value;
        Claim.Require(actor.Ask(task => task.CopyToUser(at, bytes)), "an argument cannot be passed");
        return at;
    }

    /// <inheritdoc cref="Pass(Actor, byte[])"/>
    public static ulong Pass<T>(this Actor actor, T value)
        where T : unmanaged => actor.Pass(MemoryMarshal.AsBytes([value]).ToArray());
}

/// <summary>Results of system calls in words.</summary>
internal static class Errors
{
    /// <summary>0, an address or a count, or the name of the error.</summary>
    public static string Name(long result) => result switch
    {
        < 0 => "-" + Errno.Name((int)-result),
        < 4096 => result.ToString(CultureInfo.InvariantCulture),
        _ => string.Create(CultureInfo.InvariantCulture, $"0x{result:x}"),
    };
}

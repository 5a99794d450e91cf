using System.Runtime.InteropServices;
using Emulator.Kernel;
using Emulator.Kernel.Syscalls;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Fuzz;

/// <summary>System calls by a task whose code is C#, with room for their arguments in its memory.</summary>
internal sealed class KernelCalls
{
    private const ulong Room = 0x1000_0000, RoomSize = 1 << 20;

    private readonly Task _task;
    private ulong _next = Room;

    public KernelCalls(Task task)
    {
        _task = task;
        Assert.That(Call(9, Room, RoomSize, 3, 0x32, ulong.MaxValue, 0), Is.EqualTo((long)Room));
    }

    public static void Run(MachineOptions options, Action<KernelCalls, Machine> body)
    {
        using var machine = new Machine(options with { LockDep = true, Timeout = TimeSpan.FromSeconds(60), Stdin = -1, Stdout = -1, Stderr = -1 });
        machine.Run(task => body(new KernelCalls(task), machine));
        Assert.That(machine.Violations.All, Is.Empty);
    }

    public long Call(int number, params ulong[] arguments)
    {
        ulong Argument(int i) => i < arguments.Length ? arguments[i] : 0;
        return _task.Machine.Syscalls[(ulong)number]!.Handler(_task, new SyscallArgs(Argument(0), Argument(1), Argument(2), Argument(3), Argument(4), Argument(5)));
    }

    /// <summary>Puts words into memory, where they stay until the room has been gone through.</summary>
    public ulong Pass(params ulong[] words) => Pass(MemoryMarshal.AsBytes(words.AsSpan()).ToArray());

    public ulong Pass(byte[] bytes)
    {
        if (_next + (ulong)bytes.Length > Room + RoomSize)
            _next = Room;
        ulong at = _next;
        _next = (_next + (ulong)bytes.Length + 15) & ~15UL;
        Assert.That(_task.CopyToUserBytes(at, bytes), Is.True);
        return at;
    }

    public void Set(ulong address, byte[] bytes) => Assert.That(_task.CopyToUserBytes(address, bytes), Is.True);

    public T Get<T>(ulong address)
        where T : unmanaged
    {
        Assert.That(Emulator.Kernel.Tasks.UserAccess.TryRead(_task, address, out T value), Is.True);
        return value;
    }
}

internal static class TaskBytes
{
    public static bool CopyToUserBytes(this Task task, ulong address, byte[] bytes) => Emulator.Kernel.Tasks.UserAccess.CopyToUser(task, address, bytes);
}

using Emulator.Hardware.Cpu;

namespace Emulator.Kernel.Syscalls;

/// <summary>The six argument registers of a system call: RDI, RSI, RDX, R10, R8, R9.</summary>
public readonly record struct SyscallArgs(ulong A0, ulong A1, ulong A2, ulong A3, ulong A4, ulong A5)
{
    internal static unsafe SyscallArgs From(VcpuRegisters* r) => new(
        r->Gpr[VcpuRegisters.Rdi], r->Gpr[VcpuRegisters.Rsi], r->Gpr[VcpuRegisters.Rdx], r->Gpr[10], r->Gpr[8], r->Gpr[9]);

    public ulong this[int i] => i switch { 0 => A0, 1 => A1, 2 => A2, 3 => A3, 4 => A4, _ => A5 };
}

/// <summary>Carries out a system call for <paramref name="task"/>; errors are returned as <c>-Errno.X</c>.</summary>
public delegate long SyscallHandler(Task task, in SyscallArgs args);

/// <summary>One row of the system-call table.</summary>
/// <param name="Number">The x86-64 number.</param>
/// <param name="Name">Linux's name.</param>
/// <param name="Arguments">Kinds of the arguments, by which the tracer prints them: <c>"fd,out:buf,size"</c>.</param>
/// <param name="Handler">The code.</param>
public sealed record SyscallDefinition(int Number, string Name, string Arguments, SyscallHandler Handler);

/// <summary>Sees every system call of a machine: strace's view. Called on the task's own thread.</summary>
public interface ISyscallTracer
{
    void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args);

    void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result);
}

using Emulator.Kernel.Syscalls;

namespace Emulator.Kernel.Tracing;

/// <summary>Several tracers as one.</summary>
public sealed class TracerChain(params ISyscallTracer[] tracers) : ISyscallTracer
{
    public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args)
    {
        foreach (ISyscallTracer tracer in tracers)
            tracer.Enter(task, number, definition, args);
    }

    public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
    {
        foreach (ISyscallTracer tracer in tracers)
            tracer.Leave(task, number, definition, args, result);
    }
}

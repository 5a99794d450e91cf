using Emulator.Hardware.Cpu;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Tasks;

/// <summary>The life of a task on its host thread: guest code, and the kernel's answer to whatever ended it.</summary>
public sealed unsafe partial class Task
{
    /// <summary>The number of the system call being carried out, or -1: tells the signal code whether there is a call to restart.</summary>
    internal long SyscallNumber { get; set; } = -1;

    /// <summary>What restart_syscall continues, when a call with a relative time-out was interrupted.</summary>
    internal Func<Task, long>? RestartBlock { get; set; }

    /// <summary>Set by exit: the wait status with which this thread ends at the end of the call.</summary>
    internal int? ExitRequested { get; set; }

    /// <summary>The call replaced all registers (execve, rt_sigreturn): its result is not written to RAX.</summary>
    internal bool KeepRegisters { get; set; }

    /// <summary>The root of a task's host thread; it ends when the task has exited.</summary>
    internal void Main(Action? prepare)
    {
        try
        {
            prepare?.Invoke();
            Loop();
            Exit(ExitRequested ?? Process.GroupExitStatus);
            Machine.LockDep?.AssertNothingHeld(this, "a task");
        }
        catch (TaskKilledException)
        {
            Abandon();
        }
#pragma warning disable CA1031 // The root of the thread: whatever comes here is a fault of ours, and must end the run with a report instead of the process.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Machine.Fail(this, e);
            Abandon();
        }
        finally
        {
            Machine.LockDep?.Forget();
        }
    }

    /// <summary>The root of a task whose code is C#.</summary>
    internal void RunCode(Action<Task> body, KernelThread thread)
    {
        _thread = thread;
        try
        {
            try
            {
                body(this);
            }
#pragma warning disable CA1031 // Whatever the code throws is thrown again by those who wait for it.
            catch (Exception e) when (e is not TaskKilledException)
#pragma warning restore CA1031
            {
                thread.Failure = e;
            }
            Exit(WaitStatus.Exited(thread.Failure is null ? 0 : 1));
        }
#pragma warning disable CA1031 // Callbacks of the code run at its task's end, too.
        catch (Exception e)
#pragma warning restore CA1031
        {
            thread.Failure ??= e;
            Abandon();
        }
        thread.End();
    }

    private KernelThread? _thread;

    private void Loop()
    {
        while (ExitRequested is null)
        {
            if (Machine.Scheduler.IsStopping)
                throw new TaskKilledException();
            if ((SignalPending || SyscallNumber >= 0) && SignalDelivery.Run(this))
                return;
            switch (RunGuest())
            {
                case VcpuExit.Syscall:
                    SystemCall();
                    break;
                case VcpuExit.Exception:
                    Exceptions.Handle(this);
                    break;
                default:
                    Vcpu!.TakeAttention();
                    break;
            }
            Machine.LockDep?.AssertNothingHeld(this, "a return to user mode");
            Machine.MemorySystem.Reclaim.Balance(this);
            Machine.Disturber?.Run(this);
            Machine.Scheduler.OnAttention(this);
        }
    }

    private VcpuExit RunGuest()
    {
        Vcpu vcpu = Vcpu!;
        SchedulingState s = Scheduling;
        long quantum = Machine.Scheduler.Quantum(this, Machine.Disturber?.Quantum ?? long.MaxValue);
        s.Times.EnterGuest();
        vcpu.State->Budget = quantum;
        VcpuExit exit = vcpu.Run();
        long executed = quantum - vcpu.State->Budget;
        s.Times.LeaveGuest();
        Machine.Checker?.Settle(this);
        Machine.Scheduler.Executed(this, executed);
        Machine.Disturber?.Executed(executed);
        return exit;
    }

    private void SystemCall()
    {
        VcpuRegisters* r = Registers;
        ulong number = r->Gpr[VcpuRegisters.Rax];
        SyscallArgs args = SyscallArgs.From(r);
        SyscallNumber = (long)number;
        KeepRegisters = false;
        long result = Dispatch(number, args);
        if (!KeepRegisters)
            Registers->Gpr[VcpuRegisters.Rax] = (ulong)result;
        // Only a call that a signal ended may hand its temporary mask on to the handler's frame.
        bool interrupted = result is -Errno.EINTR or (<= -Errno.ERESTARTSYS and >= -Errno.ERESTART_RESTARTBLOCK);
        if (!interrupted)
        {
            RestoreMask();
            SyscallNumber = -1;
        }
        if (KeepRegisters)
            SyscallNumber = -1;
    }

    private long Dispatch(ulong number, in SyscallArgs args)
    {
        SyscallDefinition? definition = Machine.Syscalls[number];
        ISyscallTracer? tracer = Machine.Options.Trace;
        tracer?.Enter(this, number, definition, args);
        Machine.CountSyscall(Vcpu!.Id);
        long result;
        using (this.Operation(definition?.Name ?? "unknown system call"))
            result = definition is null ? Machine.UnknownSyscall(this, number, args) : definition.Handler(this, args);
        tracer?.Leave(this, number, definition, args, result);
        return result;
    }
}

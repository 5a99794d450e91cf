using Emulator.Kernel.Reports;

namespace Emulator.Kernel;

/// <summary>Why a machine's run came to its end.</summary>
public enum ExitReason
{
    /// <summary>The program called exit; <see cref="ExitStatus.Code"/> says with what.</summary>
    Exited,

    /// <summary>A signal killed the program; <see cref="ExitStatus.Signal"/> says which.</summary>
    Signaled,

    /// <summary>The time of <see cref="MachineOptions.Timeout"/> was up.</summary>
    TimedOut,

    /// <summary><see cref="MachineOptions.MaxInstructions"/> were executed.</summary>
    InstructionLimit,

    /// <summary>A deterministic machine found every task waiting for another one.</summary>
    Deadlock,

    /// <summary>A system call that is not implemented, under <see cref="MachineOptions.FailOnUnsupported"/>.</summary>
    Unsupported,

    /// <summary>The program could not be started; <see cref="ExitStatus.Message"/> says why.</summary>
    NotStarted,

    /// <summary>The machine was disposed while it ran.</summary>
    Stopped,

    /// <summary>A fault of the emulator itself.</summary>
    InternalError,
}

/// <summary>How the machine's first process ended.</summary>
public sealed record ExitStatus(ExitReason Reason, int Code = 0, int Signal = 0)
{
    /// <summary>What there is to say about the end: a fatal fault of the program, a system call that is not implemented, a fault of ours.</summary>
    public Report? Report { get; init; }

    /// <summary>One line for people, for the reasons that need one.</summary>
    public string? Message { get; init; }

    /// <summary>For <see cref="ExitReason.NotStarted"/>: the error number that execve would give.</summary>
    public int Errno { get; init; }
}

using Emulator.Hardware.Cpu;

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
    /// <summary>The state at a fatal fault of the program, when there was one.</summary>
    public CrashReport? Crash { get; init; }

    /// <summary>One line for people, for the reasons that need one.</summary>
    public string? Message { get; init; }

    /// <summary>For <see cref="ExitReason.NotStarted"/>: the error number that execve would give.</summary>
    public int Errno { get; init; }

    /// <summary>For <see cref="ExitReason.InternalError"/>: what went wrong, for whoever mends it.</summary>
    public Exception? Failure { get; init; }
}

/// <summary>What is known of the instruction at which a fatal signal arose.</summary>
public sealed record CrashReport
{
    public required int Pid { get; init; }
    public required int Tid { get; init; }
    public required string Command { get; init; }
    public required int Signal { get; init; }
    public required int SignalCode { get; init; }

    /// <summary>The x86 vector that caused it, or -1 for a signal that somebody sent.</summary>
    public required int Vector { get; init; }

    public required uint ErrorCode { get; init; }
    public required ulong FaultAddress { get; init; }
    public required VcpuRegisters Registers { get; init; }

    /// <summary>The program died of what it did, not of a signal that asked it to end: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.</summary>
    public bool IsFault => Vector >= 0 || Signal is 4 or 5 or 6 or 7 or 8 or 11 or 31;

    /// <summary>Frames of the machine and those in use, at the time of the report.</summary>
    public ulong TotalFrames { get; init; }

    public ulong UsedFrames { get; init; }

    /// <summary>Up to 15 bytes at RIP, as far as they are mapped.</summary>
    public required byte[] InstructionBytes { get; init; }

    /// <summary>The mapping at <see cref="FaultAddress"/> or around it, as a line of /proc/PID/maps; null if there is none.</summary>
    public string? Mapping { get; init; }

    /// <summary>The mapping that holds RIP.</summary>
    public string? CodeMapping { get; init; }

    /// <summary>For #UD: why a processor would have executed the instruction.</summary>
    public Unsupported Unsupported { get; init; }

    /// <summary>The extensions that the machine's processors have.</summary>
    public required CpuFeatures Features { get; init; }

    /// <summary><c>symbol+offset</c> of RIP, where a symbol table tells.</summary>
    public string? Symbol { get; init; }

    /// <summary>Host path of the program, for symbols.</summary>
    public string? Program { get; init; }
}

using System.Collections.Immutable;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Syscalls;

namespace Emulator.Kernel.Reports;

/// <summary>What a report is about, and with that whose fault it is.</summary>
public enum ReportKind
{
    /// <summary>A processor would have executed the instruction; this machine's does not. The emulator's gap.</summary>
    UnsupportedInstruction,

    /// <summary>A system call that nobody has written. The emulator's gap.</summary>
    UnsupportedSyscall,

    /// <summary>The program did something that kills it on Linux, too.</summary>
    GuestCrash,

    /// <summary>The machine has too little memory for the program.</summary>
    OutOfMemory,

    /// <summary>A fault of the emulator.</summary>
    OwnBug,
}

/// <summary>What is known of a task at the instant that a report is about. Every kind of report has the same facts, as far as there are any.</summary>
public sealed record Report
{
    public required ReportKind Kind { get; init; }

    /// <summary>The task's process and thread, and its name; 0 and empty: no task is concerned.</summary>
    public int Pid { get; init; }
    public int Tid { get; init; }
    public string Command { get; init; } = "";

    /// <summary>The task is of the process that the machine was made for.</summary>
    public bool IsMain { get; init; }

    /// <summary>The vCPU that the task held, or -1.</summary>
    public int Vcpu { get; init; } = -1;

    /// <summary>Guest instructions that the whole machine had executed. Exact in a deterministic machine.</summary>
    public long Instructions { get; init; }

    /// <summary>The signal that kills the process and its si_code; 0: none.</summary>
    public int Signal { get; init; }
    public int SignalCode { get; init; }

    /// <summary>The x86 vector that caused it, or -1.</summary>
    public int Vector { get; init; } = -1;
    public uint ErrorCode { get; init; }

    /// <summary>The address that <see cref="Mapping"/> and <see cref="Walk"/> are about: that of a page fault, else <see cref="Rip"/>.</summary>
    public ulong FaultAddress { get; init; }

    public VcpuRegisters Registers { get; init; }

    /// <summary>Address of the instruction that the report is about; that of SYSCALL for a system call.</summary>
    public ulong Rip { get; init; }

    /// <summary>Up to 15 bytes at <see cref="Rip"/>, as far as they are mapped.</summary>
    public byte[] InstructionBytes { get; init; } = [];

    /// <summary>Where in a file <see cref="Rip"/> lies, where it does.</summary>
    public CodeLocation? Location { get; init; }

    /// <summary>The mapping at <see cref="FaultAddress"/> as a line of /proc/PID/maps; null if there is none.</summary>
    public string? Mapping { get; init; }

    /// <summary>The mapping that holds <see cref="Rip"/>.</summary>
    public string? CodeMapping { get; init; }

    /// <summary>What a walk of the page tables for <see cref="FaultAddress"/> reads, from the root down.</summary>
    public ImmutableArray<WalkStep> Walk { get; init; } = [];

    /// <summary>Return addresses by frame pointers, innermost first.</summary>
    public ImmutableArray<StackFrame> Backtrace { get; init; } = [];

    /// <summary>For #UD: why a processor would have executed the instruction.</summary>
    public Unsupported Unsupported { get; init; }

    /// <summary>The extensions that the machine's processors have.</summary>
    public CpuFeatures Features { get; init; }

    /// <summary>Frames of the machine and those in use.</summary>
    public ulong TotalFrames { get; init; }
    public ulong UsedFrames { get; init; }

    /// <summary>Number and arguments of an unsupported system call.</summary>
    public ulong SyscallNumber { get; init; }
    public SyscallArgs SyscallArguments { get; init; }

    /// <summary>The fault of the emulator, for whoever mends it.</summary>
    public Exception? Failure { get; init; }
}

/// <summary>A return address on the stack.</summary>
/// <param name="Address">Behind the call.</param>
/// <param name="Location">Where in a file, if in one.</param>
public sealed record StackFrame(ulong Address, CodeLocation? Location);

/// <summary>A place in a program's file.</summary>
/// <param name="Symbol"><c>symbol+0x12</c>, or null where no symbol table tells.</param>
/// <param name="File"><c>file:0x1234</c>, the file's name and the offset in it.</param>
public sealed record CodeLocation(string? Symbol, string File)
{
    public override string ToString() => Symbol is null ? $"({File})" : $"{Symbol} ({File})";
}

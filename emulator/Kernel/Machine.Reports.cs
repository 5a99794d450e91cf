using Emulator.Hardware.Cpu;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Reports;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel;

/// <summary>What a machine reports about its tasks.</summary>
public sealed partial class Machine
{
    private const int InstructionBytes = 15;

    private readonly Lock _unknownLock = new();
    private readonly SortedDictionary<ulong, long> _unknown = [];

    /// <summary>Numbers are the guest's to choose: so many are told apart and reported, the others are counted together.</summary>
    private const int MaxUnknown = 512;
    private const ulong OtherUnknown = ulong.MaxValue;

    /// <summary>System calls that are not implemented, with how often each was made.</summary>
    public IReadOnlyDictionary<ulong, long> UnknownSyscalls
    {
        get
        {
            lock (_unknownLock)
                return new SortedDictionary<ulong, long>(_unknown);
        }
    }

    /// <summary>Answers a call that nobody has written; the first of each number is reported.</summary>
    internal long UnknownSyscall(Task task, ulong number, in SyscallArgs args)
    {
        bool first;
        lock (_unknownLock)
        {
            ulong key = _unknown.Count < MaxUnknown || _unknown.ContainsKey(number) ? number : OtherUnknown;
            _unknown[key] = _unknown.GetValueOrDefault(key) + 1;
            first = key == number && _unknown[key] == 1;
        }
        if (first || Options.FailOnUnsupported)
        {
            Report report = CreateReport(task, ReportKind.UnsupportedSyscall, SyscallAddress(task), null) with { SyscallNumber = number, SyscallArguments = args };
            if (Options.FailOnUnsupported)
                End(new ExitStatus(ExitReason.Unsupported) { Message = $"{task}: system call {SyscallNames.Of(number)} ({number}) is not implemented", Report = report });
            else
                Options.Report?.Invoke(report);
        }
        return -Errno.ENOSYS;
    }

    /// <summary>Keeps what is known of a signal that is about to kill a process, if there is anything to say about it.</summary>
    internal unsafe void ReportDeath(Task task, SignalInfo info)
    {
        if (KindOf(task, info) is not { } kind || !task.Process.ClaimDeath())
            return;
        ulong rip = task.Registers->Rip;
        Report report = CreateReport(task, kind, rip, info.Vector == Vector.PageFault ? info.Address : null) with
        {
            Signal = info.Number,
            SignalCode = info.Code,
            Vector = info.Vector,
            ErrorCode = info.ErrorCode,
            Unsupported = kind == ReportKind.UnsupportedInstruction ? task.Vcpu!.State->Unsupported : Unsupported.No,
        };
        task.Process.Death = report;
        Options.Report?.Invoke(report);
    }

    /// <summary>Null: the process dies because it was asked to.</summary>
    private static unsafe ReportKind? KindOf(Task task, SignalInfo info)
    {
        if (info.Vector == Vector.InvalidOpcode && task.Vcpu!.State->Unsupported != Unsupported.No)
            return ReportKind.UnsupportedInstruction;
        // A page fault that ends in SIGKILL is one that found no memory (mm/memory.c, VM_FAULT_OOM).
        if (info.Number == Signal.SIGKILL)
            return info.Vector == Vector.PageFault || task.Process.Oom.IsVictim ? ReportKind.OutOfMemory : null;
        bool isFault = info.Vector >= 0
            || info.Number is Signal.SIGILL or Signal.SIGTRAP or Signal.SIGABRT or Signal.SIGBUS or Signal.SIGFPE or Signal.SIGSEGV or Signal.SIGSYS;
        return isFault ? ReportKind.GuestCrash : null;
    }

    /// <summary>A fault of the emulator: the run ends with a report instead of an exception.</summary>
    /// <param name="task">The task on whose thread it was, or null.</param>
    /// <param name="e">What was thrown.</param>
    internal void Fail(Task? task, Exception e)
    {
        // First, so that what the report reads does not wait for locks that the fault has left behind.
        StopTasks();
        Report report = new() { Kind = ReportKind.OwnBug };
        if (task is not null)
            report = CreateReport(task, ReportKind.OwnBug, null, null);
        End(new ExitStatus(ExitReason.InternalError) { Message = $"{(task is null ? "event loop" : task)}: {e.GetType().Name}: {e.Message}", Report = report with { Failure = e } });
    }

    /// <summary>The address of the SYSCALL whose successor RIP is.</summary>
    private static unsafe ulong SyscallAddress(Task task) => task.Registers->Rip - 2;

    /// <param name="task">Whom the report is about.</param>
    /// <param name="kind">What it is about.</param>
    /// <param name="rip">The instruction in question; null: the next one.</param>
    /// <param name="address">The address in question; null: the instruction's.</param>
    private unsafe Report CreateReport(Task task, ReportKind kind, ulong? rip, ulong? address)
    {
        var report = new Report
        {
            Kind = kind,
            Pid = task.Process.Pid,
            Tid = task.Tid,
            Command = task.Comm,
            IsMain = task.Process == Main,
            Vcpu = task.Vcpu?.Id ?? -1,
            Instructions = Platform.Vcpus.Sum(static (Vcpu vcpu) => vcpu.State->Instructions),
            Features = Platform.Features,
            TotalFrames = Memory.FrameCount,
            UsedFrames = (ulong)(task.Process.Oom.IsVictim ? task.Process.Oom.UsedFrames : Pages.UsedFrames),
        };
        // An exiting task has given back its registers, then its memory.
        if (task.Registers is null || task.Mm is null)
            return report;
        ulong at = rip ?? task.Registers->Rip;
        report = report with { Registers = *task.Registers, Rip = at, FaultAddress = address ?? at };
        try
        {
            return AddMemory(task, report);
        }
#pragma warning disable CA1031 // After a fault of ours nothing can be relied on, and half a report is better than none.
        catch (Exception) when (kind == ReportKind.OwnBug)
#pragma warning restore CA1031
        {
            return report;
        }
    }

    private Report AddMemory(Task task, Report report)
    {
        byte[] code = new byte[InstructionBytes];
        int length = task.Mm.ReadMemory(task, report.Rip, code);
        var locator = new CodeLocator();
        return report with
        {
            InstructionBytes = code[..length],
            Location = locator.Find(task, report.Rip),
            Mapping = CodeLocator.Mapping(task, report.FaultAddress),
            CodeMapping = CodeLocator.Mapping(task, report.Rip),
            Walk = WalkStep.Walk(Memory, task.Mm.Root, report.FaultAddress),
            Backtrace = Backtrace.Of(task, locator),
        };
    }
}

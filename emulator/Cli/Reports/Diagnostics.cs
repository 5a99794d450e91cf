using System.Collections.Immutable;
using Emulator.Hardware.Cpu;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Reports;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Cli.Reports;

/// <summary>The one table of identifiers: reports take title, blame and help from it, <c>emulator explain</c> prints it.</summary>
internal static class Diagnostics
{
    public static readonly Diagnostic Instruction = new("EMU-UNSUP-INSN", "unsupported instruction", Blame.Emulator,
        "A processor would have executed the instruction, and the emulator has not been taught it. The program got SIGILL and did not handle it.",
        "build the program for x86-64-v2 (-march=x86-64-v2), or have a library choose another path (GLIBC_TUNABLES); 'emulator list instructions' shows what there is", "--cpu");

    public static readonly Diagnostic Level = new("EMU-UNSUP-LEVEL", "unsupported instruction", Blame.Usage,
        "The instruction belongs to an extension that --cpu switches off, so it raises #UD as on a processor without it. CPUID says so, too, and the program did not look.",
        "choose a higher --cpu level, or build the program for a lower one (-march)", "--cpu");

    public static readonly Diagnostic Mode32 = new("EMU-UNSUP-32BIT", "unsupported instruction", Blame.Emulator,
        "The instruction leads to 32-bit code or is a 32-bit system call (INT 0x80, SYSENTER, a far transfer to selector 0x23). The emulator runs 64-bit code only.",
        "build the program for 64 bits alone");

    public static readonly Diagnostic Syscall = new("EMU-UNSUP-SYSCALL", "unsupported system call", Blame.Emulator,
        "Nobody has written this system call. The program gets ENOSYS, as from a kernel that is too old for it, and most programs then do without. It is told once for each call.",
        "if the program goes wrong afterwards, this may be why: --unsupported=fail stops at the first, -v shows each with a whole report, -q is silent; 'emulator list syscalls' shows what there is",
        "--unsupported", "-v", "-q", "--strace");

    public static readonly Diagnostic Crash = new("EMU-GUEST-CRASH", "guest crash", Blame.Program,
        "The program was killed by a signal for something that it did itself: a bad access, a division by zero, abort(). The shell sees the same signal.",
        "the program did this itself; --strace shows its last system calls, -q hides this report", "--strace", "-v", "-q");

    public static readonly Diagnostic OutOfMemory = new("EMU-GUEST-OOM", "guest out of memory", Blame.Size,
        "All frames of the machine were in use, nothing could be reclaimed, and the process was killed to make room, as Linux's OOM killer does.",
        "give the machine more with --memory SIZE, or --swap SIZE (either costs the host only what the guest touches); a program that uses little of much memory needs less of it with --thp never", "--memory", "--swap", "--sysctl", "--thp");

    public static readonly Diagnostic Bug = new("EMU-BUG", "emulator bug", Blame.Emulator,
        "The emulator itself failed: an exception of its own code. The number behind the identifier is made from the place of the fault, and the same for the same fault.",
        "report it with the identifier, the file of details and the replay line; another --sched or --vcpus may go round it", "--status-file");

    public static readonly Diagnostic Timeout = new("EMU-TIMEOUT", "time-out", Blame.Size,
        "The time given by --timeout was up and the run was ended, with status 124.", "give it longer; -v and --strace show what it was doing", "--timeout");

    public static readonly Diagnostic InstructionLimit = new("EMU-INSN-LIMIT", "instruction limit", Blame.Size,
        "The number of guest instructions given by --max-instructions was executed and the run was ended, with status 124.", "give it more", "--max-instructions");

    public static readonly Diagnostic Deadlock = new("EMU-DEADLOCK", "deadlock", Blame.Program,
        "In a deterministic machine every task waits for another one, no timer is armed and nobody waits for the host, so that nothing can ever happen again. Or a notifier's callback waits for its own end, which is its author's fault.",
        "--strace shows the calls that did not return; --lockdep looks for wrong orders of the kernel's own locks", "--sched", "--strace", "--lockdep");

    public static readonly Diagnostic Panic = new("EMU-PANIC", "kernel panic", Blame.Size,
        "The emulated kernel cannot go on: memory is exhausted and nobody can be killed, or vm.panic_on_oom is set.", "give the machine more memory", "--memory", "--swap", "--sysctl");

    public static readonly Diagnostic NotFound = new("EMU-NOT-FOUND", "program not found", Blame.Usage,
        "There is no such program, or its interpreter (dynamic loader) is not among the files that the guest may see. The status is 127.",
        "PROGRAM is a path on the host; a dynamically linked one needs its libraries granted, for example with --bind /:/", "--bind", "--root");

    public static readonly Diagnostic NotExecutable = new("EMU-NOT-EXEC", "program not executable", Blame.Usage,
        "The program is there but cannot be run: no permission, a directory, or no x86-64 ELF file. The status is 126.", "look at it with file(1) and ls -l");

    public static readonly Diagnostic Usage = new("EMU-USAGE", "wrong usage", Blame.Usage,
        "An option or its value is wrong; nothing was run. The status is 125.", "'emulator --help' shows the options");

    public static readonly Diagnostic Setup = new("EMU-SETUP", "no machine", Blame.Usage,
        "The machine that the options ask for cannot be made on this host, or a file that they name cannot be read or written. The status is 125.", "the message says what is missing",
        "--memory", "--bind", "--root", "-o", "--status-file");

    public static readonly Diagnostic FreedFrame = new("EMU-CHECK-FRAME", "freed frame used", Blame.Kernel,
        "--check saw a vCPU use a cached translation to a frame that had been freed: whoever owns that frame by now can be read or overwritten.",
        "the report has who filled the translation, the flushes since and the frame's history; compare with a sound --flush policy", "--check", "--flush", "--mshare-variant");

    public static readonly Diagnostic FreedTable = new("EMU-CHECK-TABLE", "freed page table walked", Blame.Kernel,
        "--check saw a processor walk a page table that had been freed: whatever is in that frame by now counts as translations.",
        "compare with a sound --flush policy and without --mshare-variant", "--check", "--flush", "--mshare-variant");

    public static readonly Diagnostic Stale = new("EMU-CHECK-STALE", "stale translation used", Blame.Kernel,
        "--check saw a vCPU use a cached translation that the tables no longer allow, though a flush that covers it had been declared done.",
        "the report names the flush, and what each vCPU did about it; compare with a sound --flush policy", "--check", "--flush");

    public static readonly Diagnostic LockOrder = new("EMU-LOCK-ORDER", "wrong lock order", Blame.Kernel,
        "--lockdep saw two classes of locks taken in both orders, or a lock taken by who has it. Two tasks that meet in it wait for each other for ever.",
        "the report has both orders, and who took them", "--lockdep");

    public static readonly Diagnostic Sleep = new("EMU-LOCK-SLEEP", "sleep in atomic context", Blame.Kernel,
        "Something that may sleep was done under a spin lock or where a notifier's callback must not block.", "the report names the lock or the section", "--lockdep");

    public static readonly Diagnostic LockHeld = new("EMU-LOCK-HELD", "lock held at exit", Blame.Kernel,
        "A system call or a task ended with one of the kernel's locks still held.", "the report names the lock and who took it", "--lockdep");

    public static readonly Diagnostic Notifier = new("EMU-NOTIFIER", "notifier rule broken", Blame.Kernel,
        "A secondary MMU, or the kernel towards it, broke a rule of mmu_notifier.h; the report has its text.", "the report has what the task was doing");

    public static readonly Diagnostic DmaBuf = new("EMU-DMABUF", "dma-buf rule broken", Blame.Kernel,
        "An exporter or importer of a shared buffer broke a rule of dma-buf.h, or a device touched frames that its mapping no longer keeps.", "choose a sound --udmabuf design; 'emulator list udmabuf' shows them",
        "--udmabuf");

    public static ImmutableArray<Diagnostic> All { get; } =
    [
        Instruction, Level, Mode32, Syscall, Crash, OutOfMemory, Bug, Timeout, InstructionLimit, Deadlock, Panic, NotFound, NotExecutable, Usage, Setup,
        FreedFrame, FreedTable, Stale, LockOrder, Sleep, LockHeld, Notifier, DmaBuf,
    ];

    /// <summary>The entry of an identifier in any case, with or without the number of a bug; or null.</summary>
    public static Diagnostic? Find(string id) =>
        All.FirstOrDefault(d => d.Id.Equals(id, StringComparison.OrdinalIgnoreCase)) ?? (id.StartsWith(Bug.Id + "-", StringComparison.OrdinalIgnoreCase) ? Bug : null);

    public static Diagnostic Of(Report report) => report.Kind switch
    {
        ReportKind.UnsupportedInstruction => report.Unsupported switch
        {
            Unsupported.SwitchedOff => Level,
            Unsupported.CompatibilityMode => Mode32,
            _ => Instruction,
        },
        ReportKind.UnsupportedSyscall => Syscall,
        ReportKind.OutOfMemory => OutOfMemory,
        ReportKind.OwnBug => Bug,
        _ => Crash,
    };

    public static Diagnostic Of(Violation violation) => violation.Rule switch
    {
        CheckerRules.FreedFrame => FreedFrame,
        CheckerRules.FreedTable => FreedTable,
        CheckerRules.Stale => Stale,
        LockRules.HeldAtExit => LockHeld,
        LockRules.Inversion or LockRules.Recursion or LockRules.PossibleRecursion => LockOrder,
        NotifierRules.MustNotSleep => Sleep,
        DmaBufRules.ExportOps or DmaBufRules.DynamicImporter or DmaBufRules.ResvHeld or DmaBufRules.DeviceMemory => DmaBuf,
        _ => Notifier,
    };

    /// <summary>What a run's end is called; null: there is nothing to explain.</summary>
    public static Diagnostic? Of(ExitStatus status) => status.Reason switch
    {
        ExitReason.TimedOut => Timeout,
        ExitReason.InstructionLimit => InstructionLimit,
        ExitReason.Deadlock => Deadlock,
        ExitReason.NotStarted => status.Errno == Errno.ENOENT ? NotFound : NotExecutable,
        ExitReason.Stopped => status.Message?.StartsWith("kernel panic", StringComparison.Ordinal) == true ? Panic : Setup,
        _ => status.Report is { } report ? Of(report) : null,
    };
}

using System.Globalization;
using System.Text;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Reports;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Reports;

/// <summary>
/// Writes a report for people: what it is, where, on what instruction, with which registers, mappings and callers, whose fault it is, what to try, and how to see
/// it again. All kinds of reports have the same rows, as far as there is something to say.
/// </summary>
internal sealed class ReportRenderer(RunFacts run, Palette palette)
{
    private static readonly string[] Gpr = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"];
    private static readonly string[] Tables = ["PT", "PD", "PDPT", "PML4"];

    /// <param name="report">What to tell.</param>
    /// <param name="id">The identifier, where it is not that of the kind.</param>
    /// <param name="details">A file with more, or null.</param>
    public string Render(Report report, string? id = null, string? details = null)
    {
        Diagnostic diagnostic = Diagnostics.Of(report);
        id ??= diagnostic.Id;
        var text = new StringBuilder();
        text.Append(palette.Title($"{diagnostic.Title}: {Printable.Of(Subject(report))} [{id}]")).Append('\n');
        if (report.Tid != 0)
            AddTask(text, report);
        if (report.TotalFrames != 0 && report.Kind == ReportKind.OutOfMemory)
            Row(text, "memory", $"{report.UsedFrames} of {report.TotalFrames} frames in use ({report.TotalFrames >> 8} MiB in all)");
        if (report.Rip != 0 || report.InstructionBytes.Length != 0)
            AddPlace(text, report);
        string vcpu = report.Vcpu < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"vCPU {report.Vcpu} of {run.Vcpus}, ");
        Row(text, "run", $"{vcpu}{report.Instructions} instructions executed, {(run.Deterministic ? "deterministic" : "parallel")}, seed {run.Seed}");
        Row(text, "fault", diagnostic.Fault);
        Row(text, "help", Advice(report, diagnostic));
        if (details is not null)
            Row(text, "details", details);
        Row(text, "more", $"emulator explain {id}");
        Row(text, "replay", run.ReplayLine);
        return text.ToString();
    }

    /// <summary>A report in one line, for what does not end the run.</summary>
    public static string Brief(Report report)
    {
        Diagnostic diagnostic = Diagnostics.Of(report);
        string at = report.Location is { } location ? $" {location}" : "";
        return Printable.Of(string.Create(CultureInfo.InvariantCulture,
            $"emulator: {diagnostic.Title}: {Subject(report)}, in {report.Command}[{report.Tid}] at rip 0x{report.Rip:x}{at} [{diagnostic.Id}]")) + "\n";
    }

    private static string Subject(Report report) => report.Kind switch
    {
        ReportKind.UnsupportedInstruction => report.Unsupported switch
        {
            Unsupported.SwitchedOff => $"it needs {CpuLevel.Describe(Missing(report))}, which --cpu switches off",
            Unsupported.CompatibilityMode => "it leads to 32-bit code or is a 32-bit system call, and the emulator runs 64-bit code only",
            _ => "valid, but not implemented by the emulator; not an error in your program",
        },
        ReportKind.UnsupportedSyscall => $"{SyscallNames.Of(report.SyscallNumber)} ({report.SyscallNumber}) is answered with ENOSYS",
        ReportKind.OutOfMemory => report.Vector < 0 ? "killed to make room for others" : "the machine has no frame left for this page",
        ReportKind.OwnBug => report.Failure is { } e ? $"{e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}" : "unknown",
        _ when report.Vector >= 0 => Vectors(report.Vector),
        _ => $"killed by {SignalText.Name(report.Signal)}",
    };

    private static string Advice(Report report, Diagnostic diagnostic) => report.Unsupported == Unsupported.SwitchedOff
        ? $"--cpu {CpuLevel.LowestWith(Missing(report) | report.Features)} has it; or build the program for a lower level (-march)" : diagnostic.Help;

    /// <summary>The extensions that the instruction needs and the machine does not have.</summary>
    private static CpuFeatures Missing(Report report) => InstructionFeatures.Needed(InstructionText.Decode(report)) & ~report.Features;

    private static void AddTask(StringBuilder text, Report report)
    {
        string signal = report.Signal == 0 ? "" : $", {SignalReason.Describe(report.Signal, report.SignalCode)}";
        Row(text, "task", $"{report.Command}[{report.Tid}]{(report.Pid == report.Tid ? "" : $" of process {report.Pid}")}{signal}");
    }

    private void AddPlace(StringBuilder text, Report report)
    {
        Row(text, "at", $"rip 0x{report.Rip:x16}{(report.Location is { } location ? $"  {location}" : "")}");
        Painted(text, "code", InstructionText.Write(report, palette));
        if (report.Kind == ReportKind.UnsupportedSyscall)
            Row(text, "call", $"{SyscallNames.Of(report.SyscallNumber)}({string.Join(", ", Enumerable.Range(0, 6).Select(i => $"0x{report.SyscallArguments[i]:x}"))})");
        if (report.Vector == Vector.PageFault)
            Row(text, "access", $"{Access(report.ErrorCode)} 0x{report.FaultAddress:x16}");
        Row(text, "mapping", report.Mapping ?? "none at this address");
        for (int i = 0; i < report.Walk.Length; i++)
            Row(text, i == 0 ? "walk" : "", Step(report.Walk[i]));
        if (report.CodeMapping is not null && report.FaultAddress != report.Rip)
            Row(text, "code in", report.CodeMapping);
        AddRegisters(text, report.Registers);
        for (int i = 0; i < report.Backtrace.Length; i++)
            Row(text, i == 0 ? "callers" : "", $"#{i + 1} 0x{report.Backtrace[i].Address:x16}{(report.Backtrace[i].Location is { } place ? $"  {place}" : "")}");
    }

    private static string Step(WalkStep step)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"{Tables[step.Level]}[{step.Index}]").PadRight(10);
        if (!step.IsPresent)
            return $"{name} 0x{step.Entry:x16}  not present: the walk ends here";
        var pte = (Hardware.Memory.Pte)step.Entry;
        string rights = $"{(pte.HasFlag(Hardware.Memory.Pte.Writable) ? "write" : "read only")}{(pte.HasFlag(Hardware.Memory.Pte.User) ? "" : ", kernel only")}"
            + (pte.HasFlag(Hardware.Memory.Pte.NoExecute) ? ", no execute" : "");
        return string.Create(CultureInfo.InvariantCulture, $"{name} 0x{step.Entry:x16}  {(step.IsLeaf ? "page" : "table")} in frame 0x{step.Frame.Value:x}, {rights}");
    }

    private static unsafe void AddRegisters(StringBuilder text, VcpuRegisters registers)
    {
        for (int i = 0; i < 16; i++)
            text.Append(CultureInfo.InvariantCulture, $"  {Gpr[i]} {registers.Gpr[i]:x16}").Append(i % 4 == 3 ? "\n" : "");
        text.Append(CultureInfo.InvariantCulture, $"  rip {registers.Rip:x16}  rflags {registers.Rflags:x8}  fs {registers.FsBase:x}  gs {registers.GsBase:x}\n");
    }

    private static void Row(StringBuilder text, string label, FormattableString value) => Row(text, label, value.ToString(CultureInfo.InvariantCulture));

    private static void Row(StringBuilder text, string label, string value) => Painted(text, label, Printable.Of(value));

    /// <summary>A row with colours and lines of our own, and nothing that a program chose.</summary>
    private static void Painted(StringBuilder text, string label, string value) => text.Append("  ").Append(label.PadRight(10)).Append(value).Append('\n');

    private static string Vectors(int vector) => vector switch
    {
        0 => "divide error (#DE)",
        1 => "debug exception (#DB)",
        3 => "breakpoint (#BP)",
        6 => "invalid opcode (#UD)",
        12 => "stack fault (#SS)",
        13 => "general protection (#GP)",
        14 => "page fault (#PF)",
        16 => "x87 floating-point error (#MF)",
        17 => "misaligned access (#AC)",
        19 => "SIMD floating-point exception (#XM)",
        _ => string.Create(CultureInfo.InvariantCulture, $"exception {vector}"),
    };

    private static string Access(uint error)
    {
        string kind = (error & 16) != 0 ? "instruction fetch from" : (error & 2) != 0 ? "write to" : "read of";
        string why = (error & 1) != 0 ? "protected" : "unmapped";
        return $"{kind} {why}";
    }
}

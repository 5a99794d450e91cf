using System.Globalization;
using System.Text;
using Emulator.Hardware.Cpu;
using Emulator.Kernel;
using Emulator.Kernel.Tracing;
using Iced.Intel;

namespace Emulator.Cli.Reports;

/// <summary>Tells a person how the guest died: whose fault it is, where, on what instruction, with which registers and which mapping.</summary>
internal static class CrashRenderer
{
    private static readonly string[] Gpr = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"];

    public static string Render(CrashReport crash, ExitStatus status, Palette palette)
    {
        var text = new StringBuilder();
        text.Append(palette.Title(Title(crash))).Append('\n');
        text.Append(CultureInfo.InvariantCulture, $"  task      {crash.Command}[{crash.Tid}], {SignalReason.Describe(crash.Signal, crash.SignalCode)}\n");
        if (IsOutOfMemory(crash))
            text.Append(CultureInfo.InvariantCulture, $"  memory    {crash.UsedFrames} of {crash.TotalFrames} frames in use ({crash.TotalFrames >> 8} MiB in all)\n");
        text.Append(CultureInfo.InvariantCulture, $"  at        rip 0x{crash.Registers.Rip:x16}{Located(crash)}\n");
        text.Append(CultureInfo.InvariantCulture, $"  code      {Instruction(crash, palette)}\n");
        if (crash.Vector == 14)
        {
            text.Append(CultureInfo.InvariantCulture, $"  access    {Access(crash.ErrorCode)} 0x{crash.FaultAddress:x16}\n");
            text.Append(CultureInfo.InvariantCulture, $"  mapping   {crash.Mapping ?? "none at this address"}\n");
        }
        if (crash.CodeMapping is not null)
            text.Append(CultureInfo.InvariantCulture, $"  code in   {crash.CodeMapping}\n");
        text.Append(Registers(crash));
        text.Append(CultureInfo.InvariantCulture, $"  {Advice(crash)}\n");
        return text.ToString();
    }

    private static string Title(CrashReport crash) => crash.Unsupported switch
    {
        Unsupported.NotImplemented => "unsupported instruction: valid, but not implemented by the emulator; not an error in your program",
        Unsupported.SwitchedOff => $"instruction of a higher level: it needs {CpuLevel.Describe(Missing(crash))}, which --cpu switches off",
        Unsupported.CompatibilityMode => "unsupported instruction: it leads to 32-bit code or is a 32-bit system call, and the emulator runs 64-bit code only",
        _ when IsOutOfMemory(crash) => "guest memory exhausted: the machine has no frame left for this page",
        _ when crash.Vector >= 0 => $"guest crash: {Vectors(crash.Vector)}",
        _ => $"guest killed by {SignalText.Name(crash.Signal)}",
    };

    /// <summary>The extensions that the instruction needs and the machine does not have.</summary>
    private static CpuFeatures Missing(CrashReport crash) => InstructionFeatures.Needed(Decode(crash)) & ~crash.Features;

    private static Instruction Decode(CrashReport crash)
    {
        var decoder = Iced.Intel.Decoder.Create(64, crash.InstructionBytes);
        decoder.IP = crash.Registers.Rip;
        return decoder.Decode();
    }

    /// <summary>A page fault that ends in SIGKILL is one that found no memory (mm/memory.c, VM_FAULT_OOM).</summary>
    private static bool IsOutOfMemory(CrashReport crash) => crash.Vector == 14 && crash.Signal == Kernel.Tasks.Signal.SIGKILL;

    private static string Advice(CrashReport crash) => crash.Unsupported switch
    {
        Unsupported.NotImplemented => "help: build the program for x86-64-v2 (-march=x86-64-v2), or report the instruction with the line above",
        Unsupported.SwitchedOff => $"help: --cpu {CpuLevel.LowestWith(Missing(crash) | crash.Features)} has it; or build the program for a lower level (-march)",
        Unsupported.CompatibilityMode => "help: build the program for 64 bits alone",
        _ when IsOutOfMemory(crash) => "help: give the machine more with --memory SIZE; it costs the host only what the guest touches",
        _ => "help: the program did this itself; --strace shows its last system calls, -q hides this report",
    };

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

    private static string Located(CrashReport crash) => crash.Symbol is { } symbol ? $"  {symbol}" : "";

    private static string Instruction(CrashReport crash, Palette palette)
    {
        if (crash.InstructionBytes.Length == 0)
            return "unreadable: nothing executable is mapped at rip";
        Instruction instruction = Decode(crash);
        int length = instruction.IsInvalid ? 1 : instruction.Length;
        string hex = Convert.ToHexStringLower(crash.InstructionBytes);
        var bytes = new StringBuilder();
        for (int i = 0; i < crash.InstructionBytes.Length; i++)
        {
            string pair = hex.Substring(2 * i, 2);
            bytes.Append(i < length ? palette.Mark(i == 0 ? $"<{pair}" : $" {pair}") : i == length ? $"> {pair}" : $" {pair}");
        }
        if (length >= crash.InstructionBytes.Length)
            bytes.Append('>');
        string formatted;
        if (instruction.IsInvalid)
        {
            formatted = "(no instruction)";
        }
        else
        {
            var output = new StringOutput();
            new IntelFormatter().Format(instruction, output);
            formatted = output.ToStringAndReset();
        }
        string feature = crash.Unsupported is Unsupported.NotImplemented or Unsupported.SwitchedOff ? $"   [{string.Join(", ", instruction.CpuidFeatures.Select(f => f.ToString()))}]" : "";
        return $"{formatted}{feature}\n            {bytes}";
    }

    private static unsafe string Registers(CrashReport crash)
    {
        var text = new StringBuilder();
        VcpuRegisters registers = crash.Registers;
        for (int i = 0; i < 16; i++)
            text.Append(CultureInfo.InvariantCulture, $"  {Gpr[i]} {registers.Gpr[i]:x16}").Append(i % 4 == 3 ? "\n" : "");
        text.Append(CultureInfo.InvariantCulture, $"  rip {crash.Registers.Rip:x16}  rflags {crash.Registers.Rflags:x8}  fs {crash.Registers.FsBase:x}  gs {crash.Registers.GsBase:x}");
        return text.Append('\n').ToString();
    }
}

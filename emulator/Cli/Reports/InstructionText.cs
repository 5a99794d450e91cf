using System.Text;
using Emulator.Kernel.Reports;
using Iced.Intel;

namespace Emulator.Cli.Reports;

/// <summary>The instruction that a report is about: disassembled, with its CPUID features, and its bytes marked among those that follow.</summary>
internal static class InstructionText
{
    public static Instruction Decode(Report report)
    {
        var decoder = Iced.Intel.Decoder.Create(64, report.InstructionBytes);
        decoder.IP = report.Rip;
        return decoder.Decode();
    }

    /// <returns>Two lines, the second indented as rows of a report are; or why there is nothing to show.</returns>
    public static string Write(Report report, Palette palette)
    {
        if (report.InstructionBytes.Length == 0)
            return "unreadable: nothing executable is mapped at rip";
        Instruction instruction = Decode(report);
        int length = instruction.IsInvalid ? 1 : instruction.Length;
        var bytes = new StringBuilder();
        for (int i = 0; i < report.InstructionBytes.Length; i++)
        {
            string pair = Convert.ToHexStringLower(report.InstructionBytes, i, 1);
            bytes.Append(i < length ? palette.Mark(i == 0 ? $"<{pair}" : $" {pair}") : i == length ? $"> {pair}" : $" {pair}");
        }
        if (length >= report.InstructionBytes.Length)
            bytes.Append('>');
        return $"{Format(instruction)}\n            {bytes}";
    }

    private static string Format(in Instruction instruction)
    {
        if (instruction.IsInvalid)
            return "(no instruction)";
        var output = new StringOutput();
        new IntelFormatter().Format(instruction, output);
        return $"{output.ToStringAndReset()}   [{string.Join(", ", instruction.CpuidFeatures.Select(f => f.ToString()))}]";
    }
}

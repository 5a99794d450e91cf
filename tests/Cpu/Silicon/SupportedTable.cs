using System.Globalization;
using System.Text;
using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Writes <c>SUPPORTED.md</c>: which forms the interpreter implements, and which of those it should are missing.</summary>
internal static class SupportedTable
{
    /// <summary>What the processor is meant to have: x86-64-v2 of the psABI with x87 and MMX, and BMI1, BMI2, LZCNT, MOVBE, ADX.</summary>
    public static readonly CpuidFeature[] Wanted =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386, CpuidFeature.INTEL486, CpuidFeature.X64,
        CpuidFeature.CMOV, CpuidFeature.CX8, CpuidFeature.CPUID, CpuidFeature.TSC, CpuidFeature.RDTSCP, CpuidFeature.SYSCALL, CpuidFeature.MULTIBYTENOP,
        CpuidFeature.PAUSE, CpuidFeature.FPU, CpuidFeature.FPU287, CpuidFeature.FPU387, CpuidFeature.MMX, CpuidFeature.FXSR,
        CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.SSE3, CpuidFeature.SSSE3, CpuidFeature.SSE4_1, CpuidFeature.SSE4_2,
        CpuidFeature.POPCNT, CpuidFeature.CMPXCHG16B, CpuidFeature.BMI1, CpuidFeature.BMI2, CpuidFeature.LZCNT, CpuidFeature.MOVBE, CpuidFeature.ADX,
    ];

    public static string Write()
    {
        var implemented = SupportedForms.All.ToHashSet();
        var byFeature = SupportedForms.Encodable.GroupBy(code => code.CpuidFeatures()[0]).ToDictionary(group => group.Key, group => group.ToList());
        var others = byFeature.Keys.Except(Wanted).Where(feature => byFeature[feature].Exists(implemented.Contains))
            .OrderBy(feature => feature.ToString(), StringComparer.Ordinal);

        var text = new StringBuilder();
        text.Append("""
            # Instruction forms

            Written by the tests (`EMULATOR_WRITE_SUPPORTED=1 dotnet test --filter SupportedTableTests`), which also check that it is current. A form is a `Code` of Iced
            that can be encoded in 64-bit mode. Forms of system software count as implemented when they fault as they do in user mode. Left out are branches with a 16-bit
            operand size, which Intel's processors do not have, and names that assemblers give to two instructions, such as FSTCW. SYSENTER, on Linux a 32-bit system call,
            ends in a report that says so.


            """);
        foreach (var feature in Wanted.Concat(others))
        {
            if (byFeature.TryGetValue(feature, out var codes))
                Section(text, feature, codes, implemented);
        }
        return text.ToString().ReplaceLineEndings("\n");
    }

    private static void Section(StringBuilder text, CpuidFeature feature, List<Code> codes, HashSet<Code> implemented)
    {
        var missing = codes.Where(code => !implemented.Contains(code)).ToList();
        var done = codes.Where(implemented.Contains).ToList();
        text.Append(CultureInfo.InvariantCulture, $"## {feature}: {done.Count} of {done.Count + missing.Count}\n\n");
        if (missing.Count != 0)
            text.Append(CultureInfo.InvariantCulture, $"Missing: {Forms(missing)}\n\n");
        foreach (var group in done.GroupBy(code => code.Mnemonic()).OrderBy(group => group.Key.ToString(), StringComparer.Ordinal))
            text.Append(CultureInfo.InvariantCulture, $"- {Forms(group)}\n");
        text.Append('\n');
    }

    private static string Forms(IEnumerable<Code> codes) => string.Join("; ", codes.Select(code => $"`{code.ToOpCode().ToInstructionString()}`"));
}

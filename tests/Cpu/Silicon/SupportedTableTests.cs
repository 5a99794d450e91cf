using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

internal sealed class SupportedTableTests
{
    [Test]
    public void The_table_of_supported_forms_is_current()
    {
        var path = Path.Combine(Repository(), "emulator", "Hardware", "Cpu", "SUPPORTED.md");
        var table = SupportedTable.Write();
        if (Environment.GetEnvironmentVariable("EMULATOR_WRITE_SUPPORTED") == "1")
            File.WriteAllText(path, table);
        Assert.That(File.ReadAllText(path).ReplaceLineEndings("\n"), Is.EqualTo(table), "write it again with EMULATOR_WRITE_SUPPORTED=1");
    }

    [Test]
    public void The_forms_that_the_emulator_lists_are_those_that_random_instructions_find()
        => Assert.That(Hardware.Cpu.SupportedInstructions.Find(), Is.EquivalentTo(SupportedForms.All));

    [Test]
    public void Every_form_that_the_processor_is_meant_to_have_is_implemented()
    {
        var implemented = SupportedForms.All.ToHashSet();
        var missing = Enum.GetValues<Code>().Where(code => code.ToOpCode() is { IsInstruction: true, Mode64: true }
            && code.CpuidFeatures().All(SupportedTable.Wanted.Contains) && !implemented.Contains(code)
            && Exclusions.Reason(code) is null && !IsOtherInTheBytes(code));
        Assert.That(missing, Is.Empty);
    }

    /// <summary>
    /// In the bytes of these, Intel's processors and a decoder that follows them find another form: near branches of 64 bits, and a UD0 with an operand.
    /// </summary>
    private static bool IsOtherInTheBytes(Code code) => code is Code.Call_rm16 or Code.Jmp_rm16 or Code.Retnw or Code.Retnw_imm16 or Code.Ud0;

    private static string Repository([CallerFilePath] string source = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(source)!, "..", "..", ".."));
}

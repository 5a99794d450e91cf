using Emulator.Cli.Reports;
using Emulator.Hardware.Cpu;
using Emulator.Kernel;
using Emulator.Tests.Tasks;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cli;

/// <summary>What a person reads about an instruction that a processor would have executed.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed class ReportTests
{
    private static string Report(CpuFeatures features, Action<Assembler> program)
    {
        ExitStatus status = TinyGuest.Run(new MachineOptions { Cpu = features }, program);
        Assert.That(status.Report, Is.Not.Null);
        return new ReportRenderer(new RunFacts(true, 0, 1, ["emulator", "run", "tiny"]), new Palette("never")).Render(status.Report!);
    }

    [Test]
    public void An_instruction_that_the_level_switches_off_is_named_with_its_feature_and_the_level_that_has_it()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Report(CpuFeatures.V1, a => a.pshufb(xmm0, xmm1)), Does.Contain("needs SSSE3, which --cpu switches off").And.Contain("--cpu x86-64-v2 has it"));
            Assert.That(Report(CpuFeatures.V1, a => a.crc32(eax, ecx)), Does.Contain("needs SSE4.2, which --cpu switches off"));
            Assert.That(Report(CpuFeatures.V1, a => a.lahf()), Does.Contain("needs LAHF-SAHF"));
            Assert.That(Report(CpuFeatures.V2, a => a.andn(eax, ebx, ecx)), Does.Contain("needs BMI1, which --cpu switches off").And.Contain("--cpu max has it"));
        }
    }

    [Test]
    public void An_instruction_that_no_level_has_is_called_unsupported()
        => Assert.That(Report(CpuFeatures.Max, a => a.vaddps(ymm0, ymm1, ymm2)), Does.Contain("not implemented by the emulator").And.Contain("[AVX]"));

    [Test]
    public void The_ways_into_32_bit_code_are_called_that()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Report(CpuFeatures.Max, a => a.@int(0x80)), Does.Contain("64-bit code only"));
            Assert.That(Report(CpuFeatures.Max, a => a.sysenter()), Does.Contain("64-bit code only"));
            Assert.That(Report(CpuFeatures.Max, a =>
            {
                a.push(0x23);
                a.push(0);
                a.AddInstruction(Instruction.Create(Code.Retfq));
            }), Does.Contain("64-bit code only"));
        }
    }

    [Test]
    public void An_instruction_that_no_processor_executes_is_the_programs_own_crash()
        => Assert.That(Report(CpuFeatures.V1, a => a.ud2()), Does.Contain("invalid opcode (#UD)"));
}

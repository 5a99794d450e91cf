using Emulator.Hardware.Cpu;
using Emulator.Tests.Cpu.Silicon;

namespace Emulator.Tests.Cpu;

/// <summary>What a machine does with instructions that its level does not have.</summary>
internal sealed unsafe class CpuLevelTests
{
    private static readonly byte[] Popcnt = [0xF3, 0x0F, 0xB8, 0xC3], Tzcnt = [0xF3, 0x0F, 0xBC, 0xC3], Lzcnt = [0xF3, 0x0F, 0xBD, 0xC3],
        Pshufb = [0x66, 0x0F, 0x38, 0x00, 0xC1], Andn = [0xC4, 0xE2, 0x60, 0xF2, 0xC1], Xgetbv = [0x0F, 0x01, 0xD0];

    private static CpuOutcome Run(CpuFeatures features, byte[] code)
    {
        using var machine = new TestMachine(features);
        machine.PlaceCode(SiliconLayout.CodeBase, code);
        var state = new CpuImage { Rip = SiliconLayout.CodeBase, Mxcsr = 0x1F80, X87Control = 0x37F };
        state.Gpr[VcpuRegisters.Rbx] = 0x0001_0000;
        machine.Run(in state, out CpuOutcome outcome);
        return outcome;
    }

    [Test]
    public void An_instruction_of_a_higher_level_is_undefined()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Run(CpuFeatures.V1, Popcnt).Vector, Is.EqualTo(Vector.InvalidOpcode));
            Assert.That(Run(CpuFeatures.V1, Pshufb).Vector, Is.EqualTo(Vector.InvalidOpcode));
            Assert.That(Run(CpuFeatures.V2, Andn).Vector, Is.EqualTo(Vector.InvalidOpcode));
            Assert.That(Run(CpuFeatures.V2, Xgetbv).Vector, Is.EqualTo(Vector.InvalidOpcode));
            // They go on to the HLT behind them, which user mode may not execute.
            Assert.That(Run(CpuFeatures.V2, Popcnt).Vector, Is.EqualTo(Vector.GeneralProtection));
            Assert.That(Run(CpuFeatures.Max, Andn).Vector, Is.EqualTo(Vector.GeneralProtection));
            Assert.That(Run(CpuFeatures.Max, Xgetbv).Vector, Is.EqualTo(Vector.GeneralProtection));
        }
    }

    [Test]
    public void Without_their_features_TZCNT_and_LZCNT_are_BSF_and_BSR()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Rax(Run(CpuFeatures.Max, Tzcnt)), Is.EqualTo(16));
            Assert.That(Rax(Run(CpuFeatures.V2, Tzcnt)), Is.EqualTo(16));
            Assert.That(Rax(Run(CpuFeatures.Max, Lzcnt)), Is.EqualTo(15));
            Assert.That(Rax(Run(CpuFeatures.V2, Lzcnt)), Is.EqualTo(16));
        }
    }

    private static ulong Rax(CpuOutcome outcome) => outcome.State.Gpr[VcpuRegisters.Rax];
}

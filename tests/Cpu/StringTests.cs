using Emulator.Hardware.Cpu;
using Emulator.Tests.Cpu.Silicon;

namespace Emulator.Tests.Cpu;

/// <summary>Repeated string instructions under TF, with which the comparison with the processor starts no case.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class StringTests
{
    /// <summary>REP STOSB, REP MOVSB, REPE SCASB; the last with a counter of 32 bits.</summary>
    [TestCase("F3AA")]
    [TestCase("F3A4")]
    [TestCase("F3AE")]
    [TestCase("67F3AA")]
    public void Each_step_of_a_repetition_is_trapped(string code)
    {
        using var machine = new TestMachine();
        byte[] bytes = Convert.FromHexString(code);
        machine.PlaceCode(SiliconLayout.CodeBase, bytes);
        machine.Data.Clear();
        var state = new CpuImage { Rip = SiliconLayout.CodeBase, Rflags = Flags.Interrupt | Flags.Trap | 2, Mxcsr = 0x1F80, X87Control = 0x37F };
        state.Gpr[VcpuRegisters.Rdi] = state.Gpr[VcpuRegisters.Rsi] = SiliconLayout.DataBase + SiliconLayout.PageSize;
        for (int left = 20; left > 0; left--)
        {
            state.Gpr[VcpuRegisters.Rcx] = (ulong)left;
            machine.Run(in state, out CpuOutcome outcome);
            ulong rip = SiliconLayout.CodeBase + (left == 1 ? (ulong)bytes.Length : 0);
            Assert.That((outcome.Vector, outcome.State.Rip, outcome.State.Gpr[VcpuRegisters.Rcx], outcome.State.Gpr[VcpuRegisters.Rdi]),
                Is.EqualTo((Vector.Debug, rip, (ulong)left - 1, state.Gpr[VcpuRegisters.Rdi] + 1)));
            state = outcome.State;
        }
    }
}

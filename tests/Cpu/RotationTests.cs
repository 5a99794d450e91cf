using Emulator.Hardware.Cpu;
using Emulator.Tests.Cpu.Silicon;

namespace Emulator.Tests.Cpu;

/// <summary>What the comparison of single instructions leaves out because the manual calls it undefined, but processors agree about.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class RotationTests
{
    /// <summary>A count that is masked to 5 bits and not 0 may still be a multiple of the bits that turn: "a zero-bit rotate does nothing, that is affects no flags" (SDM vol. 2, RCL).</summary>
    [Test]
    public void Rotations_through_carry_by_no_bits_affect_no_flags([Values(0xD0, 0xD8)] int modrm, [Values(9, 18, 27, 17)] int count, [Values(0UL, Flags.Arithmetic)] ulong flags,
        [Values(0x40UL, 0x80UL, 0x4000UL, 0x8000UL)] ulong value)
    {
        using var machine = new TestMachine();
        // rcl or rcr al, or ax; hlt
        byte[] rotate = count == 17 ? [0x66, 0xC1, (byte)modrm, (byte)count] : [0xC0, (byte)modrm, (byte)count];
        machine.PlaceCode(SiliconLayout.CodeBase, rotate);
        var state = new CpuImage { Rip = SiliconLayout.CodeBase, Rflags = flags | Flags.Interrupt | 2, Mxcsr = 0x1F80, X87Control = 0x37F };
        state.Gpr[VcpuRegisters.Rax] = value;
        machine.Run(in state, out CpuOutcome outcome);
        Assert.That((outcome.State.Rip, outcome.State.Rflags & Flags.Arithmetic, outcome.State.Gpr[VcpuRegisters.Rax]),
            Is.EqualTo((SiliconLayout.CodeBase + (ulong)rotate.Length, flags, value)));
    }
}

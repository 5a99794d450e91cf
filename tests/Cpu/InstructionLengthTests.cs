using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Cpu;

/// <summary>"The processor will generate #GP if the instruction is longer than 15 bytes" (SDM vol. 2, 2.3.11), which goes before #UD (SDM vol. 3, 6.9).</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class InstructionLengthTests
{
    private const ulong Code = 0x40_0000;
    private const byte OperandSize = 0x66, Nop = 0x90, PushEs = 0x06;

    /// <param name="at">Where in the page the instruction begins; the page behind it is mapped as well.</param>
    private static (VcpuExit Exit, int Vector, uint ErrorCode, ulong Rip) Run(int at, byte[] program, int start = 0)
    {
        using var tables = new GuestTables();
        Pfn first = tables.NewFrame(), second = tables.NewFrame();
        tables.Map(Code, first, Pte.Present | Pte.User);
        tables.Map(Code + 0x1000, second, Pte.Present | Pte.User);
        // UD2 behind it.
        byte[] bytes = [.. program, 0x0F, 0x0B];
        for (int i = 0; i < bytes.Length; i++)
            tables.Platform.Memory.BytesOf(at + i < 0x1000 ? first : second)[(at + i) & 0xFFF] = bytes[i];
        VcpuState* c = tables.State;
        tables.Vcpu.Enter();
        c->Registers.Rip = Code + (ulong)(at + start);
        c->Budget = 100;
        VcpuExit exit = tables.Vcpu.Run();
        tables.Vcpu.Leave();
        return (exit, c->Vector, c->ErrorCode, c->Registers.Rip - Code);
    }

    private static byte[] Prefixed(int prefixes, byte opcode) => [.. Enumerable.Repeat(OperandSize, prefixes), opcode];

    [Test]
    public void Fifteen_bytes_are_an_instruction([Values(0x100, 0xFF1, 0xFF8, 0xFFF)] int at)
        => Assert.That(Run(at, Prefixed(14, Nop)), Is.EqualTo((VcpuExit.Exception, Vector.InvalidOpcode, 0u, (ulong)at + 15)), "the UD2 behind it");

    [Test]
    public void Fifteen_bytes_that_are_no_instruction_raise_UD([Values(0x100, 0xFF1, 0xFF8, 0xFFF)] int at)
        => Assert.That(Run(at, Prefixed(14, PushEs)), Is.EqualTo((VcpuExit.Exception, Vector.InvalidOpcode, 0u, (ulong)at)));

    /// <summary>As an Intel processor answered: LOCK MOV EAX, [RAX]; two opcodes that do not exist, of which one looks as if it had a ModRM byte; LOCK NOP.</summary>
    [TestCase(0xF0, 13, "8B00", Vector.InvalidOpcode)]
    [TestCase(0xF0, 14, "8B00", Vector.GeneralProtection)]
    [TestCase(0x66, 13, "0F04", Vector.InvalidOpcode)]
    [TestCase(0x66, 14, "0F04", Vector.GeneralProtection)]
    [TestCase(0x66, 13, "0F24C0", Vector.InvalidOpcode)]
    [TestCase(0x66, 14, "0F24C0", Vector.GeneralProtection)]
    [TestCase(0xF0, 14, "90", Vector.InvalidOpcode)]
    [TestCase(0xF0, 15, "90", Vector.GeneralProtection)]
    public void What_is_no_instruction_is_too_long_by_prefixes_and_opcode_alone(int prefix, int prefixes, string rest, int vector)
        => Assert.That(Run(0x100, [.. Enumerable.Repeat((byte)prefix, prefixes), .. Convert.FromHexString(rest)]), Is.EqualTo((VcpuExit.Exception, vector, 0u, 0x100UL)));

    [Test]
    public void Sixteen_bytes_raise_GP([Values(0x100, 0xFF0, 0xFF1, 0xFF8, 0xFFF)] int at, [Values(Nop, PushEs)] byte opcode, [Values(15, 16, 40)] int prefixes)
        => Assert.That(Run(at, Prefixed(prefixes, opcode)), Is.EqualTo((VcpuExit.Exception, Vector.GeneralProtection, 0u, (ulong)at)));

    /// <summary>With an operand: add word [rax+d32], i16 has 9 bytes.</summary>
    [TestCase(6, Vector.PageFault)]
    [TestCase(7, Vector.GeneralProtection)]
    public void What_counts_is_all_of_the_instruction(int prefixes, int vector)
    {
        byte[] add = [0x66, 0x81, 0x80, 0, 0, 0, 0, 1, 0];
        Assert.That(Run(0x100, [.. Enumerable.Repeat(OperandSize, prefixes), .. add]), Is.EqualTo((VcpuExit.Exception, vector, vector == Vector.PageFault ? 6u : 0u, 0x100UL)));
    }

    [Test]
    public void The_instructions_before_it_in_its_block_are_executed()
        => Assert.That(Run(0x100, [Nop, Nop, .. Prefixed(15, Nop)]), Is.EqualTo((VcpuExit.Exception, Vector.GeneralProtection, 0u, 0x102UL)));
}

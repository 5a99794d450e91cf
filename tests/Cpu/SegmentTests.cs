using System.Buffers.Binary;
using Emulator.Hardware.Cpu;
using Emulator.Tests.Cpu.Silicon;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cpu;

/// <summary>What the comparison with the processor cannot show: answers that depend on the host's kernel, and flags that it does not let a case start with.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class SegmentTests
{
    private const ulong Data = SiliconLayout.DataBase + SiliconLayout.PageSize;

    private static CpuOutcome Run(Action<Assembler> program, ulong flags = Flags.Interrupt, Action<byte[]>? inspect = null)
    {
        using var machine = new TestMachine();
        var assembler = new Assembler(64);
        program(assembler);
        using var code = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(code), SiliconLayout.CodeBase);
        machine.PlaceCode(SiliconLayout.CodeBase, code.ToArray());
        machine.Data.Fill(0x55);
        var state = new CpuImage { Rip = SiliconLayout.CodeBase, Rflags = flags, Mxcsr = 0x1F80, X87Control = 0x37F };
        (state.Selectors[VcpuRegisters.Cs], state.Selectors[VcpuRegisters.Ss]) = (0x33, 0x2B);
        state.Gpr[VcpuRegisters.Rsp] = Data + 0x800;
        state.Gpr[VcpuRegisters.Rbx] = Data;
        state.Gpr[VcpuRegisters.Rax] = ulong.MaxValue;
        machine.Run(in state, out CpuOutcome outcome);
        inspect?.Invoke(machine.Data[SiliconLayout.PageSize..].ToArray());
        return outcome;
    }

    [Test]
    public void System_registers_read_as_Linux_shows_them_on_a_processor_with_UMIP()
    {
        static ulong Rax(Action<Assembler> program)
        {
            var outcome = Run(program);
            return outcome.State.Gpr[VcpuRegisters.Rax];
        }
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Rax(a => a.smsw(rax)), Is.EqualTo(0x8005_0033));
            Assert.That(Rax(a => a.smsw(eax)), Is.EqualTo(0xFFFF_FFFF_8005_0033));
            Assert.That(Rax(a => a.str(eax)), Is.EqualTo(0xFFFF_FFFF_0000_0040));
            Assert.That(Rax(a => a.sldt(ax)), Is.EqualTo(0xFFFF_FFFF_FFFF_0000));
        }
        Run(a =>
        {
            a.sgdt(__[rbx]);
            a.sidt(__[rbx + 16]);
            a.smsw(__word_ptr[rbx + 32]);
        }, inspect: memory =>
        {
            using (Assert.EnterMultipleScope())
            {
                Assert.That(Convert.ToHexString(memory.AsSpan(0, 12)), Is.EqualTo("00000000FEFFFFFFFFFF5555"));
                Assert.That(Convert.ToHexString(memory.AsSpan(16, 12)), Is.EqualTo("00000000FFFFFFFFFFFF5555"));
                Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(memory.AsSpan(32)), Is.EqualTo(0x5555_0033));
            }
        });
    }

    [Test]
    public void IRET_refuses_a_nested_task()
    {
        var outcome = Run(a => a.AddInstruction(Instruction.Create(Code.Iretq)), Flags.Interrupt | Flags.NestedTask);
        Assert.That((outcome.Vector, outcome.ErrorCode, outcome.State.Rip), Is.EqualTo((Vector.GeneralProtection, 0UL, SiliconLayout.CodeBase)));
    }

    [Test]
    public void The_limit_of_the_per_processor_segment_is_the_processors_number()
    {
        var outcome = Run(a =>
        {
            a.mov(ecx, 0x7B);
            a.lsl(eax, ecx);
        });
        Assert.That((outcome.State.Gpr[VcpuRegisters.Rax], outcome.State.Rflags & Flags.Zero), Is.EqualTo((0UL, Flags.Zero)));
    }

    [TestCase(0x20)]
    [TestCase(0x23)]
    public void A_far_call_to_32_bit_code_is_reported(int selector)
    {
        using var machine = new TestMachine();
        // call far [rbx]
        machine.PlaceCode(SiliconLayout.CodeBase, [0xFF, 0x1B]);
        BinaryPrimitives.WriteUInt64LittleEndian(machine.Data[SiliconLayout.PageSize..], (ulong)selector << 32);
        var state = new CpuImage { Rip = SiliconLayout.CodeBase };
        state.Gpr[VcpuRegisters.Rbx] = Data;
        machine.Run(in state, out CpuOutcome outcome);
        Assert.That((outcome.Vector, machine.Unsupported), Is.EqualTo((Vector.InvalidOpcode, Unsupported.CompatibilityMode)));
    }
}

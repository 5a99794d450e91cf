using Emulator.Hardware.Cpu;
using Emulator.Hardware.Cpu.X87;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Cpu.X87;

/// <summary>What the handlers add to the arithmetic: pending exceptions, instruction and operand pointers, operands across pages.</summary>
internal sealed unsafe class X87InterpreterTests
{
    private const ulong Code = 0x10000, Data = 0x20000;

    private sealed class Machine : IDisposable
    {
        private readonly GuestTables _tables = new();

        public Machine(params byte[] code)
        {
            Pfn frame = _tables.NewFrame();
            _tables.Map(Code, frame);
            byte* text = _tables.Platform.Memory.Pointer(frame);
            code.CopyTo(new Span<byte>(text, code.Length));
            (text[code.Length], text[code.Length + 1]) = (0x0F, 0x05);
            // Two pages side by side in the guest but not in memory.
            Pfn first = _tables.NewFrame();
            _tables.NewFrame();
            Pfn second = _tables.NewFrame();
            _tables.Map(Data, first);
            _tables.Map(Data + 0x1000, second);
            Page = _tables.Platform.Memory.Pointer(first);
            NextPage = _tables.Platform.Memory.Pointer(second);
            State->Registers.Rip = Code;
            State->Registers.Gpr[VcpuRegisters.Rdx] = Data;
            State->Budget = 1000;
            _tables.Vcpu.Enter();
        }

        public byte* Page { get; }
        public byte* NextPage { get; }
        public VcpuState* State => _tables.State;
        public X87State* X87 => &State->Registers.X87;

        public VcpuExit Run() => _tables.Vcpu.Run();

        public void Dispose()
        {
            _tables.Vcpu.Leave();
            _tables.Dispose();
        }
    }

    [Test]
    public void An_unmasked_exception_waits_for_the_next_waiting_instruction()
    {
        // fdiv st0, st1; fnstsw ax; fwait
        using var machine = new Machine(0xD8, 0xF1, 0xDF, 0xE0, 0x9B);
        machine.X87->Control = 0x37B;
        machine.X87->Valid = 3;
        X87Stack.Put(machine.X87, 0, Float80.One);
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Exception));
        Assert.That(machine.State->Vector, Is.EqualTo(Vector.FloatingPoint));
        Assert.That(machine.State->Registers.Rip, Is.EqualTo(Code + 4));
        Assert.That(machine.State->Registers.Gpr[VcpuRegisters.Rax], Is.EqualTo(0x8084));
        Assert.That((machine.X87->InstructionPointer, machine.X87->Opcode), Is.EqualTo((Code, (ushort)0x0F1)));
    }

    [Test]
    public void The_operand_pointer_changes_with_an_unmasked_exception_only([Values] bool unmasked)
    {
        // fld qword [rdx + 8], of a signaling NaN
        using var machine = new Machine(0xDD, 0x42, 0x08);
        machine.X87->Control = unmasked ? (ushort)0x37E : (ushort)0x37F;
        *(ulong*)(machine.Page + 8) = 0x7FF0000000000001;
        machine.Run();
        Assert.That(machine.X87->InstructionPointer, Is.EqualTo(Code));
        Assert.That((machine.X87->DataPointer, machine.X87->Opcode), Is.EqualTo(unmasked ? (Data + 8, (ushort)0x542) : (0UL, (ushort)0)));
    }

    [Test]
    public void A_number_and_a_state_image_may_cross_pages()
    {
        // fld1; fstp tbyte [rdx + ffbh]; fld1; fnsave [rdx + fc0h]; frstor [rdx + fc0h]
        using var machine = new Machine(0xD9, 0xE8, 0xDB, 0xBA, 0xFB, 0x0F, 0, 0, 0xD9, 0xE8, 0xDD, 0xB2, 0xC0, 0x0F, 0, 0, 0xDD, 0xA2, 0xC0, 0x0F, 0, 0);
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Syscall));
        Assert.That(*(ushort*)(machine.Page + 0xFC0), Is.EqualTo(0x37F));
        Assert.That(X87Stack.Get(machine.X87, 0), Is.EqualTo(Float80.One));
        Assert.That(machine.X87->Valid, Is.EqualTo(0x80));
        Assert.That(*(ulong*)(machine.Page + 0xFC0 + 28), Is.EqualTo(Float80.IntegerBit));
    }

    [Test]
    public void FXSAVE_and_FXRSTOR_keep_everything_and_want_alignment()
    {
        // fldpi; fxsave64 [rdx + f80h]; fninit; fxrstor64 [rdx + f80h]; fxsave [rdx + 8]
        using var machine = new Machine(0xD9, 0xEB, 0x48, 0x0F, 0xAE, 0x82, 0x80, 0x0F, 0, 0, 0xDB, 0xE3, 0x48, 0x0F, 0xAE, 0x8A, 0x80, 0x0F, 0, 0, 0x0F, 0xAE, 0x42, 0x08);
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Exception));
        Assert.That(machine.State->Vector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(machine.State->Registers.Rip, Is.EqualTo(Code + 20));
        Assert.That((machine.X87->Valid, machine.X87->Status, machine.X87->InstructionPointer), Is.EqualTo(((byte)0x80, (ushort)0x3800, Code)));
        Assert.That(X87Stack.Get(machine.X87, 0), Is.EqualTo(new Float80(0xC90FDAA22168C235, 0x4000)));
        Assert.That(*(uint*)(machine.Page + 0xF80 + 28), Is.EqualTo(FxsaveImage.MxcsrMask));
    }

    [Test]
    public void A_fault_of_the_memory_operand_changes_nothing()
    {
        // fstp qword [rdx + 1ffch]: its second half is not mapped.
        using var machine = new Machine(0xDD, 0x9A, 0xFC, 0x1F, 0, 0);
        machine.X87->Valid = 1;
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Exception));
        Assert.That((machine.State->Vector, machine.State->FaultAddress), Is.EqualTo((Vector.PageFault, Data + 0x2000)));
        Assert.That((machine.X87->Valid, machine.X87->Status), Is.EqualTo(((byte)1, (ushort)0)));
    }
}

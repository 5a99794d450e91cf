using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Cpu;

/// <summary>Whatever instruction stores over the one behind it, in its own block: the new one is executed.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class SelfModificationTests
{
    private const ulong Code = 0x40_0000, Data = 0x60_0000;
    private const byte Halt = 0xF4;

    /// <summary>A store to [RDI], or a push, and where the stack pointer is for that, counted from the next instruction; 0: at the data.</summary>
    private static readonly (string Name, byte[] Bytes, int Stack)[] Stores =
    [
        ("MOV", [0x89, 0x07], 0),
        ("MOV, 32-bit address", [0x67, 0x89, 0x07], 0),
        ("MOV AL", [0x88, 0x07], 0),
        ("XCHG", [0x87, 0x07], 0),
        ("LOCK AND", [0xF0, 0x21, 0x07], 0),
        ("MOVNTI", [0x0F, 0xC3, 0x07], 0),
        ("MOVBE", [0x0F, 0x38, 0xF1, 0x07], 0),
        ("STOSB", [0xAA], 0),
        ("REP STOSB", [0xF3, 0xAA], 0),
        ("REP STOSB, 32-bit address", [0x67, 0xF3, 0xAA], 0),
        ("MOVSB", [0xA4], 0),
        ("REP MOVSB", [0xF3, 0xA4], 0),
        ("REP MOVSQ", [0xF3, 0x48, 0xA5], 0),
        ("MOVAPS", [0x0F, 0x29, 0x07], 0),
        ("MOVUPS", [0x0F, 0x11, 0x07], 0),
        ("MOVD", [0x66, 0x0F, 0x7E, 0x07], 0),
        ("MASKMOVDQU", [0x66, 0x0F, 0xF7, 0xC0], 0),
        ("PEXTRB", [0x66, 0x0F, 0x3A, 0x14, 0x07, 0x03], 0),
        ("MASKMOVQ", [0x0F, 0xF7, 0xC0], 0),
        ("MOVQ from MMX", [0x0F, 0x7F, 0x07], 0),
        ("FSTP m80", [0xDB, 0x3F], 0),
        ("FNSTENV", [0xD9, 0x37], 0),
        ("FNSAVE", [0xDD, 0x37], 0),
        ("FXSAVE", [0x0F, 0xAE, 0x07], 0),
        ("XSAVE", [0x0F, 0xAE, 0x27], 0),
        ("STMXCSR", [0x0F, 0xAE, 0x1F], 0),
        ("CMPXCHG16B", [0x48, 0x0F, 0xC7, 0x0F], 0),
        ("SGDT", [0x0F, 0x01, 0x07], 0),
        ("POP m64", [0x8F, 0x07], 0),
        ("PUSH", [0x50], 8),
        ("PUSH m64", [0xFF, 0x36], 8),
        ("PUSHFQ", [0x9C], 8),
        ("ENTER", [0xC8, 0x00, 0x00, 0x00], 8),
        ("CALL", [0xE8, 0x00, 0x00, 0x00, 0x00], 8),
    ];

    private static IEnumerable<TestCaseData> Cases() => Stores.Select(static (store, i) => new TestCaseData(i).SetArgDisplayNames(store.Name));

    [TestCaseSource(nameof(Cases))]
    public void A_store_over_the_next_instruction_is_executed(int index)
    {
        (_, byte[] bytes, int stack) = Stores[index];
        using var tables = new GuestTables();
        Pfn code = tables.NewFrame(), data = tables.NewFrame();
        tables.Map(Code, code, Pte.Present | Pte.User | Pte.Writable);
        tables.Map(Data, data);
        Vcpu vcpu = tables.Vcpu;
        VcpuState* c = vcpu.State;
        // The next instruction is aligned for XSAVE; it and those behind it are INC EBX.
        const ulong next = Code + 0x400;
        ulong start = next - (ulong)bytes.Length;
        for (int run = 0; run < 5; run++)
        {
            tables.Platform.Memory.BeforeWrite(code);
            Span<byte> program = tables.Platform.Memory.BytesOf(code);
            for (int i = 0; i < 64; i += 2)
                (program[0x400 + i], program[0x401 + i]) = (0xFF, 0xC3);
            bytes.CopyTo(program[(int)(start - Code)..]);
            tables.Platform.Memory.BytesOf(data).Fill(Halt);
            c->Registers.Reset();
            c->Registers.Rip = start;
            c->Registers.Gpr[VcpuRegisters.Rdi] = next;
            c->Registers.Gpr[VcpuRegisters.Rsi] = Data;
            c->Registers.Gpr[VcpuRegisters.Rcx] = 16;
            c->Registers.Gpr[VcpuRegisters.Rax] = 0xF4F4_F4F4_F4F4_F4F4;
            c->Registers.Gpr[VcpuRegisters.Rbp] = 0xF4F4_F4F4_F4F4_F4F4;
            c->Registers.Gpr[VcpuRegisters.Rsp] = stack == 0 ? Data : next + (ulong)stack;
            if (bytes[^1] == 0x0F && bytes[0] == 0x48)
                (c->Registers.Gpr[VcpuRegisters.Rax], c->Registers.Gpr[VcpuRegisters.Rdx], c->Registers.Gpr[VcpuRegisters.Rcx])
                    = (0xC3FF_C3FF_C3FF_C3FF, 0xC3FF_C3FF_C3FF_C3FF, 0xF4F4_F4F4);
            else if (bytes[0] == 0x0F && bytes[1] == 0xAE)
                (c->Registers.Gpr[VcpuRegisters.Rax], c->Registers.Gpr[VcpuRegisters.Rdx]) = (3, 0);
            new Span<byte>(c->VectorRegister(0), 16).Fill(Halt);
            for (int i = 0; i < 16; i++)
                c->Registers.X87.Registers[i] = 0xF4F4_F4F4_F4F4_F4F4;
            ulong before = c->Registers.Gpr[VcpuRegisters.Rbx];
            vcpu.Enter();
            c->Budget = 12;
            vcpu.Run();
            vcpu.Leave();
            Assert.That(c->Registers.Gpr[VcpuRegisters.Rbx], Is.LessThan(before + 8), $"run {run}: what was there is executed no more, RIP {c->Registers.Rip:X}");
        }
    }
}

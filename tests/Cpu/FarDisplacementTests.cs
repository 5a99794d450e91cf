using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Cpu;

/// <summary>Displacements at the end of their 32 bits, in instructions that do not lie at the start of their block or move what the displacement is added to.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class FarDisplacementTests
{
    private const ulong Code = 0x40_0000;
    private const int Longest = int.MaxValue;
    private const ulong Value = 0x1122_3344_5566_7788;

    private static byte[] Displaced(ReadOnlySpan<byte> opcode, int displacement) => [.. opcode, .. BitConverter.GetBytes(displacement)];

    /// <summary>A program, and two pages of memory from <paramref name="far"/> on.</summary>
    private static GuestTables Machine(ulong code, byte[] program, ulong far)
    {
        var tables = new GuestTables();
        Place(tables, code, program);
        foreach (ulong page in (ulong[])[far & ~0xFFFUL, (far & ~0xFFFUL) + 0x1000])
            tables.Map(page, tables.NewFrame());
        return tables;
    }

    private static void Place(GuestTables tables, ulong address, ReadOnlySpan<byte> bytes)
    {
        Pfn frame = tables.NewFrame();
        tables.Map(address & ~0xFFFUL, frame, Pte.Present | Pte.User);
        bytes.CopyTo(tables.Platform.Memory.BytesOf(frame)[(int)(address & 0xFFF)..]);
    }

    private static void WriteFar(GuestTables tables, ulong address, ulong value)
    {
        for (int i = 0; i < sizeof(ulong); i++)
            *Byte(tables, address + (ulong)i) = (byte)(value >> (i * 8));
    }

    private static ulong ReadFar(GuestTables tables, ulong address)
    {
        ulong value = 0;
        for (int i = 0; i < sizeof(ulong); i++)
            value |= (ulong)*Byte(tables, address + (ulong)i) << (i * 8);
        return value;
    }

    private static byte* Byte(GuestTables tables, ulong address) => tables.Platform.Memory.Pointer(new Pfn(*tables.Slot(address) >> 12 & 0xFF_FFFF)) + (address & 0xFFF);

    private static VcpuExit Run(GuestTables tables, ulong rip = Code)
    {
        tables.Vcpu.Enter();
        tables.State->Registers.Rip = rip;
        tables.State->Budget = 1000;
        VcpuExit exit = tables.Vcpu.Run();
        tables.Vcpu.Leave();
        return exit;
    }

    /// <param name="before">Bytes of NOPs in front of the instruction, in its block.</param>
    [TestCase(0, Longest)]
    [TestCase(1, Longest)]
    [TestCase(5, Longest - 8)]
    [TestCase(40, Longest)]
    [TestCase(40, 0x1_0000)]
    [TestCase(40, int.MinValue)]
    public void An_operand_relative_to_RIP_lies_where_its_displacement_says(int before, int displacement)
    {
        // Above 2 GiB, so that there is something below it.
        const ulong high = 0x7000_0000_0000;
        byte[] nops = [.. Enumerable.Repeat((byte)0x90, before)];
        // mov rax, [rip+d]; lea rdx, [rip+d]; mov [rip+d], rbx; syscall
        byte[] program = [.. nops, .. Displaced([0x48, 0x8B, 0x05], displacement), .. Displaced([0x48, 0x8D, 0x15], displacement),
            .. Displaced([0x48, 0x89, 0x1D], displacement), 0x0F, 0x05];
        ulong operand = high + (ulong)(before + 7) + (ulong)displacement;
        using GuestTables tables = Machine(high, program, operand);
        WriteFar(tables, operand, Value);
        tables.State->Registers.Gpr[VcpuRegisters.Rbx] = ~Value;
        Assert.That(Run(tables, high), Is.EqualTo(VcpuExit.Syscall));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(tables.State->Registers.Gpr[VcpuRegisters.Rax], Is.EqualTo(Value), "load");
            Assert.That(tables.State->Registers.Gpr[VcpuRegisters.Rcx], Is.EqualTo(tables.State->Registers.Rip), "SYSCALL");
            Assert.That(tables.State->Registers.Gpr[VcpuRegisters.Rdx], Is.EqualTo(operand + 7), "LEA");
            Assert.That(ReadFar(tables, operand + 14), Is.EqualTo(~Value), "store");
        }
    }

    private static readonly (string Name, byte[] Bytes)[] Branches =
    [
        ("JMP", [0xE9]),
        ("JNE", [0x0F, 0x85]),
        ("CALL", [0xE8]),
    ];

    /// <summary>Run often enough for the block to be warm: then the branch is answered by the jump cache.</summary>
    [Test]
    public void A_branch_goes_where_its_displacement_says([Values(0, 1, 2)] int branch, [Values(0, 1, 40)] int before, [Values(Longest, Longest - 3)] int displacement)
    {
        byte[] program = [.. Enumerable.Repeat((byte)0x90, before), .. Displaced(Branches[branch].Bytes, displacement)];
        ulong target = Code + (ulong)program.Length + (ulong)displacement;
        using GuestTables tables = Machine(Code, program, 0x60_0000);
        tables.State->Registers.Gpr[VcpuRegisters.Rsp] = 0x60_1000;
        // At the target: mov eax, 7; syscall
        Place(tables, target, [0xB8, 7, 0, 0, 0, 0x0F, 0x05]);
        for (int run = 0; run < 8; run++)
        {
            tables.State->Registers.Gpr[VcpuRegisters.Rax] = 0;
            tables.State->Registers.Rflags = Flags.Interrupt;
            Assert.That(Run(tables), Is.EqualTo(VcpuExit.Syscall), $"{Branches[branch].Name}, run {run}, RIP {tables.State->Registers.Rip:X}");
            Assert.That((tables.State->Registers.Gpr[VcpuRegisters.Rax], tables.State->Registers.Rip), Is.EqualTo((7UL, target + 7)));
        }
    }

    /// <summary>As an Intel processor does: the branch faults, not the fetch, and CALL has stored but not moved RSP.</summary>
    [Test]
    public void A_branch_to_an_address_that_is_not_canonical_faults_itself([Values(0, 1, 2)] int branch, [Values(0, 3)] int before)
    {
        const ulong code = 0x7FFF_8000_0000, stack = 0x60_0800;
        byte[] program = [.. Enumerable.Repeat((byte)0x90, before), .. Displaced(Branches[branch].Bytes, Longest)];
        using GuestTables tables = Machine(code, program, stack);
        VcpuState* c = tables.State;
        for (int run = 0; run < 5; run++)
        {
            c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
            c->Registers.Rflags = Flags.Interrupt;
            long instructions = c->Instructions;
            Assert.That(Run(tables, code), Is.EqualTo(VcpuExit.Exception));
            Assert.That((c->Vector, c->ErrorCode, c->Registers.Rip, c->Registers.Gpr[VcpuRegisters.Rsp], c->Instructions - instructions),
                Is.EqualTo((Vector.GeneralProtection, 0u, code + (ulong)before, stack, (long)before)));
            Assert.That(ReadFar(tables, stack - 8), Is.EqualTo(branch == 2 ? code + (ulong)program.Length : 0));
        }
    }

    /// <summary>POP adds to RSP before it computes the destination (SDM vol. 2, POP).</summary>
    [TestCase(Longest)]
    [TestCase(Longest - 7)]
    [TestCase(16)]
    public void POP_relative_to_RSP_stores_where_its_displacement_says(int displacement)
    {
        const ulong stack = 0x60_0100;
        ulong destination = stack + 8 + (ulong)displacement;
        // nop; pop qword [rsp+d]; syscall
        using GuestTables tables = Machine(Code, [0x90, .. Displaced([0x8F, 0x84, 0x24], displacement), 0x0F, 0x05], destination);
        tables.Map(stack & ~0xFFFUL, tables.NewFrame());
        WriteFar(tables, stack, Value);
        tables.State->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        Assert.That(Run(tables), Is.EqualTo(VcpuExit.Syscall));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ReadFar(tables, destination), Is.EqualTo(Value));
            Assert.That(tables.State->Registers.Gpr[VcpuRegisters.Rsp], Is.EqualTo(stack + 8));
        }
    }

    [Test]
    public void A_POP_whose_store_faults_leaves_RSP()
    {
        const ulong stack = 0x60_0100;
        using GuestTables tables = Machine(Code, Displaced([0x8F, 0x84, 0x24], 0x10_0000), stack);
        tables.State->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        Assert.That(Run(tables), Is.EqualTo(VcpuExit.Exception));
        Assert.That((tables.State->Vector, tables.State->FaultAddress, tables.State->Registers.Gpr[VcpuRegisters.Rsp]),
            Is.EqualTo((Vector.PageFault, stack + 8 + 0x10_0000, stack)));
    }
}

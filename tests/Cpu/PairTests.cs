using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Cpu.Silicon;
using Emulator.Tests.Memory;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cpu;

/// <summary>Two instructions that share a handler are two all the same: to a debugger, to counts, to faults and to whoever writes over the second.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class PairTests
{
    private const ulong Code = 0x40_0000, Data = 0x60_0000, Absent = 0x70_0000;
    private const int Usual = 0x1FA0;

    /// <summary>Pairs, each of which adds 1.5 to XMM0, or 1 to RAX, by its second or a later instruction.</summary>
    private static readonly (string Name, Action<Assembler> Emit, int Instructions)[] Pairs =
    [
        ("add add", static a => { a.add(rdx, 8); a.add(rax, 1); }, 2),
        ("add load", static a => { a.add(rdx, 8); a.movsd(xmm3, __qword_ptr[rsi]); }, 2),
        ("add store", static a => { a.add(rdx, 8); a.movsd(__qword_ptr[rsi + 8], xmm1); }, 2),
        ("load add", static a => { a.movsd(xmm3, __qword_ptr[rsi]); a.addsd(xmm0, xmm1); }, 2),
        ("load add from memory", static a => { a.movsd(xmm3, __qword_ptr[rsi]); a.addsd(xmm0, __qword_ptr[rsi + rcx * 8]); }, 2),
        ("copy add", static a => { a.movapd(xmm3, xmm1); a.addsd(xmm0, xmm3); }, 2),
        ("multiply add", static a => { a.mulsd(xmm2, xmm1); a.addsd(xmm0, xmm1); }, 2),
        ("add from memory, store", static a => { a.addsd(xmm0, __qword_ptr[rsi]); a.movsd(__qword_ptr[rsi + rcx * 8 + 8], xmm0); }, 2),
        ("add, store", static a => { a.addsd(xmm0, xmm1); a.movsd(__qword_ptr[rsi + 8], xmm0); }, 2),
    ];

    private static IEnumerable<TestCaseData> Cases() => Pairs.Select(static (pair, i) => new TestCaseData(i).SetArgDisplayNames(pair.Name));

    [TestCaseSource(nameof(Cases))]
    public void A_trap_comes_after_each_instruction(int index)
    {
        using var machine = new Machine(Pairs[index].Emit);
        machine.Warm();
        VcpuState* c = machine.Start();
        c->Registers.FlagsSystem |= Flags.Trap;
        ulong[] ends = machine.Ends;
        for (int i = 0; i < ends.Length; i++)
        {
            Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Exception));
            Assert.That((c->Vector, c->Registers.Rip), Is.EqualTo((Vector.Debug, ends[i])));
        }
        c->Registers.FlagsSystem &= ~Flags.Trap;
    }

    [TestCaseSource(nameof(Cases))]
    public void Both_are_counted_and_so_are_their_accesses(int index)
    {
        (_, Action<Assembler> emit, int instructions) = Pairs[index];
        using var machine = new Machine(emit);
        machine.Warm();
        VcpuState* c = machine.Start();
        (long executed, long accesses) = (c->Instructions, c->Accesses);
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Syscall));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(c->Instructions - executed, Is.EqualTo(instructions + 1));
            Assert.That(c->Accesses - accesses, Is.EqualTo(machine.MemoryOperands));
        }
    }

    /// <summary>Entered between both, as a handler of signals returns there.</summary>
    [TestCaseSource(nameof(Cases))]
    public void The_second_runs_alone_when_it_is_entered(int index)
    {
        using var machine = new Machine(Pairs[index].Emit);
        machine.Warm();
        VcpuState* c = machine.Start();
        (ulong rdx, long executed) = (c->Registers.Gpr[VcpuRegisters.Rdx], c->Instructions);
        c->Registers.Rip = machine.Ends[0];
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Syscall));
        Assert.That((c->Registers.Gpr[VcpuRegisters.Rdx], c->Instructions - executed), Is.EqualTo((rdx, (long)Pairs[index].Instructions)));
    }

    [Test]
    public void A_fault_of_the_second_leaves_the_first_done_and_counted()
    {
        using var machine = new Machine(static a => { a.add(rdx, 8); a.movsd(__qword_ptr[rdx], xmm1); });
        machine.Warm();
        VcpuState* c = machine.Start();
        c->Registers.Gpr[VcpuRegisters.Rdx] = Absent - 8;
        long executed = c->Instructions;
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Exception));
        using (Assert.EnterMultipleScope())
        {
            Assert.That((c->Vector, c->FaultAddress, c->Registers.Rip), Is.EqualTo((Vector.PageFault, Absent, machine.Ends[0])));
            Assert.That(c->Registers.Gpr[VcpuRegisters.Rdx], Is.EqualTo(Absent));
            Assert.That(c->Instructions - executed, Is.EqualTo(1));
        }
    }

    [Test]
    public void A_fault_of_the_first_leaves_both_undone()
    {
        using var machine = new Machine(static a => { a.movsd(xmm3, __qword_ptr[rdx]); a.addsd(xmm0, xmm1); });
        machine.Warm();
        VcpuState* c = machine.Start();
        c->Registers.Gpr[VcpuRegisters.Rdx] = Absent;
        double before = machine.Xmm0;
        long executed = c->Instructions;
        Assert.That(machine.Run(), Is.EqualTo(VcpuExit.Exception));
        Assert.That((c->Registers.Rip, machine.Xmm0, c->Instructions - executed), Is.EqualTo((Code, before, 0L)));
    }

    /// <summary>1: sub ecx, 1; jnz 1b: the budget is looked at where the branch is taken.</summary>
    [Test]
    public void A_budget_ends_a_loop_of_one_pair_after_as_many_instructions_as_without()
    {
        using var machine = new Machine(static a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.sub(ecx, 1);
            a.jne(again);
        });
        machine.Warm();
        VcpuState* c = machine.Start();
        c->Registers.Gpr[VcpuRegisters.Rcx] = 1000;
        c->Budget = 101;
        long executed = c->Instructions;
        Assert.That(machine.Vcpu.Run(), Is.EqualTo(VcpuExit.Attention));
        Assert.That((c->Instructions - executed, c->Registers.Gpr[VcpuRegisters.Rcx], c->Registers.Rip), Is.EqualTo((102L, 1000UL - 51, Code)));
    }

    /// <summary>The block stores over the second instruction of a pair behind the store: add rax, 1 becomes add rax, 2.</summary>
    [Test]
    public void A_store_of_the_same_block_over_the_second_is_seen()
    {
        using var machine = new Machine(static a => { a.mov(__byte_ptr[rdi], bl); a.add(rdx, 8); a.add(rax, 1); });
        int immediate = machine.Bytes.Length - 6;
        Assert.That(machine.Bytes[immediate], Is.EqualTo(1));
        for (ulong i = 1; i < 9; i++)
        {
            VcpuState* c = machine.Start();
            c->Registers.Gpr[VcpuRegisters.Rdi] = Code + (ulong)immediate;
            c->Registers.Gpr[VcpuRegisters.Rbx] = i;
            machine.Run();
            Assert.That(c->Registers.Gpr[VcpuRegisters.Rax], Is.EqualTo(i));
        }
    }

    [Test]
    public void A_device_that_writes_over_the_second_is_seen()
    {
        using var machine = new Machine(static a => { a.add(rdx, 8); a.add(rax, 1); });
        machine.Warm();
        machine.Write(6, 100);
        VcpuState* c = machine.Start();
        machine.Run();
        Assert.That(c->Registers.Gpr[VcpuRegisters.Rax], Is.EqualTo(100));
    }

    [TestCaseSource(nameof(Cases))]
    public void They_do_share_a_handler(int index)
    {
        using var machine = new Machine(Pairs[index].Emit);
        machine.Warm();
        (nint together, nint alone) = (machine.HandlerAt(Code), machine.HandlerOfFirstAlone);
        Assert.That(together, Is.Not.EqualTo(alone));
    }

    private sealed class Machine : IDisposable
    {
        private readonly GuestTables _tables = new();
        private readonly Pfn _code, _data;
        private readonly BlockDecoder _decoder = new(CpuFeatures.Max);

        public Machine(Action<Assembler> emit)
        {
            var a = new Assembler(64);
            emit(a);
            a.syscall();
            var code = new MemoryStream();
            a.Assemble(new StreamCodeWriter(code), Code);
            Bytes = code.ToArray();
            (_code, _data) = (_tables.NewFrame(), _tables.NewFrame());
            _tables.Map(Code, _code);
            _tables.Map(Data, _data);
            Bytes.CopyTo(_tables.Platform.Memory.BytesOf(_code));
            var decoder = Iced.Intel.Decoder.Create(64, Bytes, Code);
            var ends = new List<ulong>();
            while (decoder.IP < Code + (ulong)Bytes.Length)
            {
                Instruction instruction = decoder.Decode();
                if (instruction.Mnemonic == Mnemonic.Syscall)
                    break;
                ends.Add(decoder.IP);
                MemoryOperands += instruction.Op0Kind == OpKind.Memory || instruction.Op1Kind == OpKind.Memory ? 1 : 0;
            }
            Ends = [.. ends];
            Vcpu.Enter();
        }

        public byte[] Bytes { get; }

        /// <summary>Where each instruction but the last ends.</summary>
        public ulong[] Ends { get; }

        public int MemoryOperands { get; }
        public Vcpu Vcpu => _tables.Vcpu;

        public double Xmm0 => *(double*)Vcpu.State->VectorRegister(0);

        public VcpuState* Start()
        {
            VcpuState* c = Vcpu.State;
            c->Registers.Reset();
            c->Registers.Mxcsr = Usual;
            c->Registers.Rip = Code;
            c->Registers.Gpr[VcpuRegisters.Rsi] = c->Registers.Gpr[VcpuRegisters.Rdx] = Data;
            for (int i = 0; i < 4; i++)
                *(double*)c->VectorRegister(i) = i + 0.5;
            *(double*)_tables.Platform.Memory.Pointer(_data) = 1.5;
            return c;
        }

        public VcpuExit Run()
        {
            Vcpu.State->Budget = 1000;
            return Vcpu.Run();
        }

        /// <summary>Runs often enough that its blocks are entered directly.</summary>
        public void Warm()
        {
            for (int i = 0; i < 6; i++)
            {
                Start();
                Run();
            }
        }

        public void Write(int at, byte value)
        {
            _tables.Platform.Memory.BeforeWrite(_code);
            _tables.Platform.Memory.BytesOf(_code)[at] = value;
        }

        public nint HandlerAt(ulong rip) => Decode(rip, 64);

        public nint HandlerOfFirstAlone => Decode(Code, 1);

        private nint Decode(ulong rip, int limit)
        {
            fixed (byte* bytes = Bytes)
                return (nint)_decoder.Decode(rip, bytes, Bytes.Length, complete: false, limit)[0].Fn;
        }

        public void Dispose()
        {
            Vcpu.Leave();
            _tables.Dispose();
        }
    }
}

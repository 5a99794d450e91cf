using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Makes the memory and the register states in which an instruction is tried.</summary>
internal sealed unsafe class StateGenerator(SeededRandom random)
{
    private static readonly ValueKind[] AllKinds = Enum.GetValues<ValueKind>();

    private readonly InstructionInfoFactory information = new();

    /// <summary>The values that the instruction reads from memory, by its operand's element type.</summary>
    public static ValueKind KindOf(in Instruction instruction) => instruction.MemorySize.GetElementType() switch
    {
        MemorySize.Float32 or MemorySize.Float16 => ValueKind.Float32,
        MemorySize.Float64 => ValueKind.Float64,
        MemorySize.Float80 => ValueKind.Float80,
        MemorySize.Bcd => ValueKind.Bcd,
        var element => element.GetSize() switch
        {
            1 => ValueKind.Integer8,
            2 => ValueKind.Integer16,
            4 => ValueKind.Integer32,
            _ => ValueKind.Integer64,
        },
    };

    private ValueKind KindLike(ValueKind kind) => random.Chance(70) ? kind : random.Pick<ValueKind>(AllKinds);

    public void FillMemory(InstructionForm form, Span<byte> pages)
    {
        var instruction = form.Instruction;
        var kind = form.OfDoubles ? ValueKind.Float64 : KindOf(instruction);
        var first = pages[..PageSize];
        if (Selectors.AreIn(instruction))
            Selectors.FillMemory(random, instruction, first, BranchTarget);
        for (var at = 0; at < first.Length && !Selectors.AreIn(instruction); at += 32)
        {
            var chunk = first.Slice(at, 32);
            if (random.Chance(8))
            {
                // Pointers for RET, POP, CALL and JMP.
                for (var i = 0; i < 32; i += 8)
                    BitConverter.TryWriteBytes(chunk[i..], BranchTarget());
            }
            else
            {
                EdgeValues.Fill(random, KindLike(kind), chunk);
            }
        }
        // The other pages hold the same values elsewhere, so that no two pages are equal and none costs time.
        for (var page = 1; page < DataPages; page++)
        {
            var shift = page * 0x1F0;
            first[shift..].CopyTo(pages[(page * PageSize)..]);
            first[..shift].CopyTo(pages[((page + 1) * PageSize - shift)..]);
        }
    }

    private ulong BranchTarget() => random.Below(8) switch
    {
        < 5 => CodeBase + 0x1000 + (ulong)random.Below(0x1000),
        5 => DataBase + 0x1100,
        6 => 0x7000_0000,
        _ => 0x4000_0000_0000_0000 | random.Next() >> 2,
    };

    public void Fill(InstructionForm form, ref CpuCase item)
    {
        var instruction = form.Instruction;
        item.CodeAddress = form.Address;
        // Nothing can be placed on the absent page: the fetch of a cut instruction faults there.
        item.SetCode(form.Bytes.AsSpan(0, Math.Min(form.Bytes.Length, (int)(CodeBase + (CodePages * PageSize) - form.Address))));

        ref var state = ref item.State;
        state.Rip = form.Address;
        state.FsBase = Pointers.FsBase;
        state.GsBase = Pointers.GsBase;
        state.Rflags = Flags();
        Selectors.Start(random, ref state);
        for (var i = 0; i < 16; i++)
            state.Gpr[i] = random.Chance(15) ? Pointers.Pick(random, 16) : EdgeValues.Register(random);
        Vectors(instruction, ref state);
        if (form.OfDoubles)
            Doubles(ref state);
        X87(instruction, ref state);
        Special(instruction, ref state);
        Address(instruction, ref state);
        foreach (var following in form.Following)
            Address(following, ref state);
        if (Selectors.Register(instruction) is { } selector and not Iced.Intel.Register.None && (instruction.Mnemonic == Mnemonic.Lsl || random.Chance(90)))
            state.Gpr[Number(selector)] = (state.Gpr[Number(selector)] & ~0xFFFFUL) | Selectors.Pick(random, instruction);
        if (instruction.FlowControl is FlowControl.IndirectBranch or FlowControl.IndirectCall && instruction.Op0Kind == OpKind.Register && random.Chance(80))
            state.Gpr[Number(instruction.Op0Register)] = BranchTarget();
    }

    private ulong Flags()
    {
        var flags = 0x202UL | (random.Next() & 0x8D5);
        if (random.Chance(25))
            flags |= Emulator.Hardware.Cpu.Flags.Direction;
        // Linux has CR0.AM set, so that AC brings alignment checks (#AC).
        return random.Chance(4) ? flags | Emulator.Hardware.Cpu.Flags.AlignmentCheck : flags;
    }

    private void Vectors(in Instruction instruction, ref CpuImage state)
    {
        state.Mxcsr = 0x1F80;
        if (random.Chance(60))
        {
            var value = (uint)random.Next() & 0xE07F;
            state.Mxcsr = value | (random.Chance(80) ? 0x1F80 : (uint)random.Next() & 0x1F80);
        }
        var kind = instruction.OpCount > 1 || instruction.Op0Kind == OpKind.Memory ? KindOf(instruction) : ValueKind.Integer64;
        for (var i = 0; i < 16; i++)
            EdgeValues.Fill(random, KindLike(kind), state.Xmm(i));
    }

    /// <summary>Mostly of middling size, and MXCSR mostly as it is after a program's first operations.</summary>
    private void Doubles(ref CpuImage state)
    {
        if (random.Chance(70))
            state.Mxcsr = 0x1FA0 | (random.Chance(20) ? (uint)random.Next() & 0x805F : 0);
        for (var i = 0; i < 16; i++)
        {
            for (var half = 0; half < 16; half += 8)
            {
                if (random.Chance(80))
                    BitConverter.TryWriteBytes(state.Xmm(i)[half..], (random.Next() & 0x800F_FFFF_FFFF_FFFF) | (ulong)(1023 - 300 + random.Below(600)) << 52);
            }
        }
    }

    private void X87(in Instruction instruction, ref CpuImage state)
    {
        state.X87Control = 0x37F;
        if (random.Chance(60))
        {
            var masks = random.Chance(80) ? 0x3F : random.Below(0x40);
            state.X87Control = (ushort)(0x40 | masks | (random.Pick<int>([0, 2, 3, 3]) << 8) | (random.Below(4) << 10));
        }
        var status = random.Below(0x10000) & 0x7F00;
        if (random.Chance(40))
            status |= random.Below(0x80);
        // A pending exception is one that is flagged and not masked; ES and B tell it (SDM vol. 1, 8.1.3).
        if ((status & ~state.X87Control & 0x3F) != 0)
        {
            if (random.Chance(20))
                status |= 0x8080;
            else
                status &= ~0x3F | (state.X87Control & 0x3F);
        }
        state.X87Status = (ushort)status;
        state.X87Tag = (byte)(random.Below(4) switch { 0 => random.Below(256), 1 => 0, _ => 255 });
        var integers = instruction.Code.CpuidFeatures()[0] is not (CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387);
        for (var i = 0; i < 8; i++)
        {
            if (integers && random.Chance(80))
            {
                EdgeValues.Fill(random, KindLike(KindOf(instruction)), state.FxArea.Slice(CpuImage.FxSt + (16 * i), 8));
                state.St(i)[8..].Fill((byte)(random.Chance(90) ? 0xFF : 0x3F));
            }
            else
            {
                EdgeValues.Extended(random, state.St(i));
            }
        }
    }

    /// <summary>Operands for which an arbitrary value nearly always gives the same, dull result.</summary>
    private void Special(in Instruction instruction, ref CpuImage state)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Div:
            case Mnemonic.Idiv:
                if (random.Chance(80))
                {
                    state.Gpr[2] = random.Pick<ulong>([0, 0, ulong.MaxValue, 1, (ulong)random.Below(100)]);
                    state.Gpr[0] &= random.Chance(50) ? ~0xFF00UL : ulong.MaxValue;
                }
                break;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                if (instruction.Op1Kind == OpKind.Register && random.Chance(85))
                    state.Gpr[Number(instruction.Op1Register)] = (ulong)(IsLocked(instruction) ? random.Below(64) : random.Below(1000) - 500);
                break;
            case Mnemonic.Pcmpestri:
            case Mnemonic.Pcmpestrm:
            case Mnemonic.Pcmpestri64:
            case Mnemonic.Pcmpestrm64:
                if (random.Chance(80))
                {
                    state.Gpr[0] = (ulong)(random.Below(40) - 20);
                    state.Gpr[2] = (ulong)(random.Below(40) - 20);
                }
                break;
        }
        if (instruction.IsStringInstruction)
        {
            state.Gpr[1] = random.Below(20) switch
            {
                < 14 => (ulong)random.Below(10),
                < 18 => (ulong)random.Below(600),
                18 => (ulong)random.Below(6000),
                _ => 1UL << 40,
            };
            if (random.Chance(30))
                state.Gpr[1] |= random.Next() << 40;
        }
    }

    /// <summary>Solves the registers of each memory operand, explicit or implied, for a chosen address.</summary>
    private void Address(in Instruction instruction, ref CpuImage state)
    {
        // Whatever the instruction: a stack that works, so that RSP is no worse than another register.
        state.Gpr[4] = Pointers.Pick(random, 8);
        foreach (var memory in information.GetInfo(instruction).GetUsedMemory())
        {
            var size = memory.MemorySize.GetSize();
            var target = Pointers.Pick(random, size);
            // Locks across cache lines are left out: Linux makes the task wait each time (arch/x86/kernel/cpu/bus_lock.c), and some
            // hypervisors never get past one that faults.
            if (IsLocked(instruction) || (ExchangesMemory(instruction) && (target & 0xFFF) + (ulong)size <= 0x1000))
                target = (target & ~63UL) + (random.Chance(80) || instruction.Op1Kind == OpKind.Register && IsBitTest(instruction) ? (ulong)random.Below(4) * 16 : (ulong)random.Below(64 - size + 1));
            if (memory.Segment == Register.FS)
                target -= Pointers.FsBase;
            else if (memory.Segment == Register.GS)
                target -= Pointers.GsBase;
            // A 32-bit effective address that wraps is another matter for each implementation.
            if (memory.AddressSize == CodeSize.Code32 && target > 0x7FFF_FFFF)
                target = 0x7000_0000 | (target & 0xFFFF);
            target -= memory.Displacement;
            var scale = System.Numerics.BitOperations.Log2((uint)memory.Scale);
            if (memory.Base is not (Register.None or Register.RIP or Register.EIP))
            {
                if (memory.Index != Register.None)
                {
                    if (random.Chance(70) && memory.Index != Register.AL)
                        SetRegister(ref state, memory.Index, (ulong)(random.Below(0x2000) - 0x1000));
                    target -= GetRegister(state, memory.Index) << scale;
                }
                SetRegister(ref state, memory.Base, target);
            }
            else if (memory.Index != Register.None)
            {
                SetRegister(ref state, memory.Index, (ulong)((long)target >> scale));
            }
        }
    }

    private static bool IsBitTest(in Instruction instruction) => instruction.Mnemonic is Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc;

    private static bool IsLocked(in Instruction instruction)
        => instruction.HasLockPrefix || (instruction.Mnemonic == Mnemonic.Xchg && instruction.Op0Kind == OpKind.Memory);

    /// <summary>The interpreter makes these atomic without the prefix too, hence within a page by a lock of the host.</summary>
    private static bool ExchangesMemory(in Instruction instruction)
        => instruction.Mnemonic is Mnemonic.Cmpxchg or Mnemonic.Cmpxchg8b or Mnemonic.Xadd && instruction.Op0Kind == OpKind.Memory;

    private static int Number(Register register) => register.GetFullRegister() - Register.RAX;

    private static ulong GetRegister(in CpuImage state, Register register)
    {
        var value = state.Gpr[Number(register)];
        return register.GetSize() switch { 1 => (byte)value, 4 => (uint)value, _ => value };
    }

    private void SetRegister(ref CpuImage state, Register register, ulong value)
    {
        if (!register.IsGPR())
            return;
        // Only the low half counts with a 32-bit address size.
        state.Gpr[Number(register)] = register.GetSize() == 4 ? (random.Next() << 32) | (uint)value : value;
    }
}

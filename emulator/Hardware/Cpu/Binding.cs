using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>What an operand is, as far as the choice of a handler needs to know.</summary>
internal enum OperandForm
{
    None,
    Register,
    Immediate,
    /// <summary>Memory at base + displacement (also RIP-relative and absolute).</summary>
    Base,
    /// <summary>Memory at base + index * scale + displacement.</summary>
    Index,
    /// <summary>Memory of any form; what has a segment base or 32-bit address size is no other.</summary>
    Any,
}

/// <summary>
/// One instruction on its way to an operation: the families' <c>Bind</c> methods read operands through it, which fills in the operation's fields,
/// and return a handler, or null for an instruction that is not theirs.
/// </summary>
internal unsafe ref struct Binding
{
    public ref readonly Instruction Instruction;
    // In bounds: an element of the decoder's buffer. What an instruction says of itself ends up as a register's offset, a scale of 0 to 3, a guest address, or an immediate, which handlers mask.
    public Op* Op;
    public CpuFeatures Features;
    /// <summary>Linear address of the block's first byte.</summary>
    public ulong BlockRip;
    /// <summary>No quick forms (<see cref="IAddress.IsQuick"/>): every memory operand is <see cref="OperandForm.Any"/>.</summary>
    public bool Complete;
    /// <summary>Set by a family for an instruction after which the block cannot go on: its handler must never enter <c>op[1]</c>, for there is none.</summary>
    public bool EndsBlock;
    /// <summary>The form of the memory operand, if a family has asked for one.</summary>
    public OperandForm Memory;
    /// <summary>Memory accesses that the instruction makes, for the TLB's hit rate.</summary>
    public int Accesses;

    /// <summary>Describes operand <paramref name="n"/>; for memory, fills in the address fields.</summary>
    public OperandForm Form(int n)
    {
        switch (Instruction.GetOpKind(n))
        {
            case OpKind.Register: return OperandForm.Register;
            case OpKind.Memory: return Address();
            case OpKind.Immediate8 or OpKind.Immediate8_2nd or OpKind.Immediate16 or OpKind.Immediate32 or OpKind.Immediate64
                or OpKind.Immediate8to16 or OpKind.Immediate8to32 or OpKind.Immediate8to64 or OpKind.Immediate32to64:
                Op->Imm = (long)Instruction.GetImmediate(n);
                return OperandForm.Immediate;
            default: return OperandForm.None;
        }
    }

    /// <summary>Names the register operand <paramref name="n"/> as the operation's destination.</summary>
    public void Dst(int n) => Op->Dst = Offset(Instruction.GetOpRegister(n));

    /// <summary>Names the register operand <paramref name="n"/> as the operation's source.</summary>
    public void Src(int n) => Op->Src = Offset(Instruction.GetOpRegister(n));

    /// <summary>Describes operand <paramref name="n"/> and, if it is a register, makes it the source.</summary>
    public OperandForm Source(int n)
    {
        OperandForm form = Form(n);
        if (form == OperandForm.Register)
            Src(n);
        return form;
    }

    /// <summary>Size in bytes of operand <paramref name="n"/>.</summary>
    public int Size(int n) => Instruction.GetOpKind(n) == OpKind.Register
        ? Instruction.GetOpRegister(n).GetSize()
        : Instruction.MemorySize.GetSize();

    /// <summary>Byte offset of a general register in the register file; <see cref="Simd.Xmm.Scale"/> times its number for a vector register; the number of MMX and x87 registers.</summary>
    public static byte Offset(Register register) => register switch
    {
        >= Register.AL and <= Register.BL => (byte)((register - Register.AL) * 8),
        >= Register.AH and <= Register.BH => (byte)((register - Register.AH) * 8 + 1),
        >= Register.SPL and <= Register.R15L => (byte)((register - Register.SPL + 4) * 8),
        _ when register.IsGPR() => (byte)(register.GetNumber() * 8),
        // No more: those that only EVEX names have no place, and no instruction that is executed names them.
        >= Register.XMM0 and <= Register.XMM15 => (byte)((register - Register.XMM0) * Simd.Xmm.Scale),
        _ => (byte)register.GetNumber(),
    };

    private OperandForm Address()
    {
        Accesses++;
        Register baseRegister = Instruction.MemoryBase, index = Instruction.MemoryIndex;
        Op->Disp = (int)Instruction.MemoryDisplacement64;
        Op->Index = RegisterOffset.None;
        Op->Scale = (byte)System.Numerics.BitOperations.TrailingZeroCount(Instruction.MemoryIndexScale);
        bool address32 = baseRegister.IsGPR32() || index.IsGPR32() || baseRegister == Register.EIP
            || (baseRegister == Register.None && index == Register.None && Instruction.MemoryDisplSize == 4);
        if (Instruction.IsIPRelativeMemoryOperand)
        {
            Op->Base = RegisterOffset.BlockRip;
            long distance = (long)(Instruction.IPRelativeMemoryAddress - BlockRip);
            Op->Disp = (int)distance;
            if (distance != Op->Disp && !address32)
            {
                Op->Disp = (int)(Instruction.IPRelativeMemoryAddress - Instruction.NextIP);
                Op->Scale |= AnyAddress.FromNext;
            }
        }
        else
        {
            Op->Base = baseRegister == Register.None ? RegisterOffset.None : Offset(baseRegister);
        }
        if (index != Register.None)
            Op->Index = Offset(index);
        // Overrides to ES, CS, SS and DS are ignored (SDM vol. 1, 3.4.4.1): only the base register makes it the stack segment.
        Op->Seg = Instruction.MemorySegment switch
        {
            Register.FS => RegisterOffset.FsBase,
            Register.GS => RegisterOffset.GsBase,
            _ => baseRegister is Register.RSP or Register.RBP or Register.ESP or Register.EBP ? RegisterOffset.StackNone : RegisterOffset.None,
        };
        if (address32)
            Op->Scale |= AnyAddress.Address32;
        Memory = Complete || (Op->Scale & (AnyAddress.Address32 | AnyAddress.FromNext)) != 0 || Op->Seg is RegisterOffset.FsBase or RegisterOffset.GsBase ? OperandForm.Any
            : index == Register.None ? OperandForm.Base : OperandForm.Index;
        return Memory;
    }
}

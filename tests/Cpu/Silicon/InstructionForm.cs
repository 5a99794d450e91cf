using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>One encoded instruction at its address; or several, of which it is the first (<see cref="SequenceGenerator"/>).</summary>
internal sealed record InstructionForm(Instruction Instruction, byte[] Bytes, ulong Address)
{
    public Instruction[] Following { get; init; } = [];

    /// <summary>Wants states in which arithmetic on doubles mostly goes its short way.</summary>
    public bool OfDoubles { get; init; }

    /// <summary>Flags that the last instruction leaves undefined, and those that any leaves so: an exception may show them.</summary>
    public ulong UndefinedAtEnd { get; init; }
    public ulong UndefinedBefore { get; init; }

    public override string ToString()
    {
        var text = new StringOutput();
        var formatter = new NasmFormatter();
        formatter.Format(Instruction, text);
        foreach (var following in Following)
        {
            text.Write("; ", FormatterTextKind.Text);
            formatter.Format(following, text);
        }
        return $"{text.ToStringAndReset()}    [{Convert.ToHexString(Bytes)}] at {Address:X}";
    }
}

/// <summary>Makes instructions of a given <see cref="Code"/>: random operands of the kinds that the code allows.</summary>
internal sealed class InstructionFormGenerator(SeededRandom random)
{
    // Without REX, with REX for SPL to DIL, and the high bytes that REX excludes.
    private static readonly Register[][] ByteRegisters = [Range(Register.AL, 4), Range(Register.SPL, 12), Range(Register.AH, 4)];

    private const int LongestInstruction = 15;

    /// <summary>Prefixes put before an instruction that has all it needs: overrides, sizes, repeats, and REX, which counts only right before the opcode.</summary>
    private static ReadOnlySpan<byte> NeedlessPrefixes => [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3, 0x40, 0x48, 0x4F];

    private static Register[] Range(Register first, int count) => [.. Enumerable.Range(0, count).Select(i => first + i)];

    /// <summary>At most <paramref name="count"/> different instructions; empty when the code cannot be encoded in 64-bit mode.</summary>
    public List<InstructionForm> Generate(Code code, int count)
    {
        var forms = new List<InstructionForm>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var attempt = 0; attempt < count * 4 && forms.Count < count; attempt++)
        {
            if (TryMake(code, attempt) is { } form && seen.Add($"{Convert.ToHexString(form.Bytes)}@{(form.Instruction.IsIPRelativeMemoryOperand || attempt < count ? form.Address : 0)}"))
                forms.Add(form);
        }
        // What only decodes as an illegal LOCK is no form of the code.
        var canLock = code.ToOpCode().CanUseLockPrefix;
        return forms.TrueForAll(form => form.Instruction.HasLockPrefix && !canLock) ? [] : forms;
    }

    private InstructionForm? TryMake(Code code, int attempt)
    {
        var opCode = code.ToOpCode();
        var instruction = new Instruction { Code = code };
        instruction.CodeSize = CodeSize.Code64;
        var memory = (attempt & 1) != 0;
        for (var i = 0; i < opCode.OpCount; i++)
        {
            if (!SetOperand(ref instruction, i, opCode.GetOpKind(i), memory))
                return null;
        }
        // The same register twice finds handlers that write a destination before they have read all sources.
        if (opCode.OpCount >= 2 && random.Chance(20) && instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register
            && instruction.Op0Register.GetSize() == instruction.Op1Register.GetSize() && IsFree(opCode.GetOpKind(0)) && IsFree(opCode.GetOpKind(1)))
            instruction.Op1Register = instruction.Op0Register;

        var illegalLock = false;
        if (opCode.CanUseLockPrefix && instruction.Op0Kind == OpKind.Memory)
            instruction.HasLockPrefix = random.Chance(40);
        if (instruction.HasLockPrefix || instruction.Mnemonic == Mnemonic.Xchg)
            AlignFixedAddress(ref instruction);
        else if (opCode.Encoding == EncodingKind.Legacy)
            instruction.HasLockPrefix = illegalLock = random.Chance(3);
        if (opCode.CanUseRepPrefix && random.Chance(50))
            instruction.HasRepPrefix = true;
        else if (opCode.CanUseRepnePrefix && IsString(instruction) && random.Chance(60))
            instruction.HasRepnePrefix = true;

        return Encode(instruction, illegalLock);
    }

    /// <summary>An address that no base register decides is aligned for locked instructions, which may not cross cache lines (see <see cref="StateGenerator"/>).</summary>
    private static void AlignFixedAddress(ref Instruction instruction)
    {
        if (instruction.MemoryBase is Register.None or Register.RIP or Register.EIP)
            instruction.MemoryDisplacement64 &= ~15UL;
    }

    private static bool IsFree(OpCodeOperandKind kind) => kind is not (OpCodeOperandKind.al or OpCodeOperandKind.ax or OpCodeOperandKind.eax or OpCodeOperandKind.rax or OpCodeOperandKind.cl or OpCodeOperandKind.dx);

    private static bool IsString(in Instruction instruction) => instruction.IsStringInstruction;

    private InstructionForm? Encode(Instruction instruction, bool illegalLock)
    {
        if (EncodeAt(instruction, CodeBase + 0x800) is not { } length)
            return null;
        // Most instructions lie inside a page; some end with it, cross into the next, or run into the absent one.
        var end = CodeBase + (CodePages * PageSize);
        var address = random.Below(20) switch
        {
            0 or 1 => CodeBase + PageSize - (ulong)length.Length,
            2 when length.Length > 1 => CodeBase + PageSize - 1 - (ulong)random.Below(length.Length - 1),
            3 => end - (ulong)length.Length,
            4 when length.Length > 1 && random.Chance(50) => end - 1 - (ulong)random.Below(length.Length - 1),
            _ => CodeBase + 0x400 + (ulong)random.Below(0x800),
        };
        if (EncodeAt(instruction, address) is not { } bytes || bytes.Length != length.Length)
            return null;
        if (random.Chance(8) && bytes.Length < LongestInstruction)
        {
            bytes = [random.Pick(NeedlessPrefixes), .. bytes];
            address--;
        }
        var decoder = Decoder.Create(64, bytes, address);
        decoder.Decode(out var decoded);
        // A branch back to its own prefix never ends.
        if (decoded.Op0Kind == OpKind.NearBranch64 && decoded.NearBranch64 == address)
            return null;
        if (illegalLock ? !decoded.IsInvalid : decoded.Code != instruction.Code)
            return null;
        if (illegalLock)
            decoded = instruction;
        return new(decoded, bytes, address);
    }

    public static byte[]? EncodeAt(Instruction instruction, ulong address)
    {
        if (instruction.Op0Kind == OpKind.NearBranch64)
            instruction.NearBranch64 += address;
        var bytes = new MemoryStream();
        return Encoder.Create(64, new StreamCodeWriter(bytes)).TryEncode(instruction, address, out _, out _) ? bytes.ToArray() : null;
    }

    private bool SetOperand(ref Instruction instruction, int i, OpCodeOperandKind kind, bool memory)
    {
        switch (kind)
        {
            case OpCodeOperandKind.mem:
            case OpCodeOperandKind.sibmem:
                SetMemory(ref instruction, i);
                return true;
            case OpCodeOperandKind.mem_offs:
                instruction.SetOpKind(i, OpKind.Memory);
                instruction.MemoryDisplSize = 8;
                instruction.MemoryDisplacement64 = Pointers.Pick(random, 8);
                return true;
            case OpCodeOperandKind.br64_1:
            case OpCodeOperandKind.br64_4:
                instruction.SetOpKind(i, OpKind.NearBranch64);
                // Relative to the instruction until its address is chosen. HLT is everywhere: a branch lands wherever it goes, unless it comes back to itself.
                instruction.NearBranch64 = (ulong)(long)(random.Chance(50) ? 16 + random.Below(100) : -1 - random.Below(100));
                if (kind == OpCodeOperandKind.br64_4 && random.Chance(50))
                    instruction.NearBranch64 = random.Pick<ulong>([0x700, 0x2000, 0xFFFF_FFFF_FFFF_F000, 0x1000_1000, 0x7000_0000]);
                return true;
            case OpCodeOperandKind.seg_rSI:
                instruction.SetOpKind(i, (i > 0 && instruction.Op0Kind is OpKind.MemoryESRDI or OpKind.MemoryESEDI ? instruction.Op0Kind == OpKind.MemoryESEDI : random.Chance(20)) ? OpKind.MemorySegESI : OpKind.MemorySegRSI);
                if (random.Chance(20))
                    instruction.SegmentPrefix = random.Pick([Register.FS, Register.GS, Register.DS]);
                return true;
            case OpCodeOperandKind.es_rDI:
                instruction.SetOpKind(i, (i > 0 && instruction.Op0Kind is OpKind.MemorySegRSI or OpKind.MemorySegESI ? instruction.Op0Kind == OpKind.MemorySegESI : random.Chance(20)) ? OpKind.MemoryESEDI : OpKind.MemoryESRDI);
                return true;
            case OpCodeOperandKind.seg_rDI:
                instruction.SetOpKind(i, random.Chance(20) ? OpKind.MemorySegEDI : OpKind.MemorySegRDI);
                return true;
            case OpCodeOperandKind.seg_rBX_al:
                instruction.SetOpKind(i, OpKind.Memory);
                instruction.MemoryBase = random.Chance(20) ? Register.EBX : Register.RBX;
                instruction.MemoryIndex = Register.AL;
                instruction.MemoryIndexScale = 1;
                return true;
            case OpCodeOperandKind.imm8_const_1:
                instruction.SetOpKind(i, OpKind.Immediate8);
                instruction.Immediate8 = 1;
                return true;
        }
        if (Immediate(kind) is { } immediate)
        {
            instruction.SetOpKind(i, immediate);
            SetImmediate(ref instruction, i, immediate);
            return true;
        }
        if (memory && IsRegisterOrMemory(kind))
        {
            SetMemory(ref instruction, i);
            return true;
        }
        var register = PickRegister(kind);
        if (register == Register.None)
            return false;
        instruction.SetOpKind(i, OpKind.Register);
        instruction.SetOpRegister(i, register);
        return true;
    }

    private static bool IsRegisterOrMemory(OpCodeOperandKind kind) => kind is OpCodeOperandKind.r8_or_mem or OpCodeOperandKind.r16_or_mem
        or OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r64_or_mem or OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.ymm_or_mem;

    private static OpKind? Immediate(OpCodeOperandKind kind) => kind switch
    {
        OpCodeOperandKind.imm8 => OpKind.Immediate8,
        OpCodeOperandKind.imm8sex16 => OpKind.Immediate8to16,
        OpCodeOperandKind.imm8sex32 => OpKind.Immediate8to32,
        OpCodeOperandKind.imm8sex64 => OpKind.Immediate8to64,
        OpCodeOperandKind.imm16 => OpKind.Immediate16,
        OpCodeOperandKind.imm32 => OpKind.Immediate32,
        OpCodeOperandKind.imm32sex64 => OpKind.Immediate32to64,
        OpCodeOperandKind.imm64 => OpKind.Immediate64,
        _ => null,
    };

    private void SetImmediate(ref Instruction instruction, int i, OpKind kind)
    {
        // A second immediate (ENTER, EXTRQ) has a field of its own.
        if (i > 0 && kind == OpKind.Immediate8 && instruction.GetOpKind(i - 1) is OpKind.Immediate8 or OpKind.Immediate16)
        {
            instruction.SetOpKind(i, OpKind.Immediate8_2nd);
            instruction.Immediate8_2nd = (byte)EdgeValues.Integer(random, 5);
            return;
        }
        switch (kind)
        {
            // INT 80h would be a system call of the host.
            case OpKind.Immediate8:
                do
                    instruction.Immediate8 = (byte)EdgeValues.Integer(random, 8);
                while (instruction is { Mnemonic: Mnemonic.Int, Immediate8: 0x80 });
                break;
            case OpKind.Immediate8to16: instruction.Immediate8to16 = (sbyte)EdgeValues.Integer(random, 8); break;
            case OpKind.Immediate8to32: instruction.Immediate8to32 = (sbyte)EdgeValues.Integer(random, 8); break;
            case OpKind.Immediate8to64: instruction.Immediate8to64 = (sbyte)EdgeValues.Integer(random, 8); break;
            case OpKind.Immediate16: instruction.Immediate16 = (ushort)EdgeValues.Integer(random, 16); break;
            case OpKind.Immediate32: instruction.Immediate32 = (uint)EdgeValues.Integer(random, 32); break;
            case OpKind.Immediate32to64: instruction.Immediate32to64 = (int)EdgeValues.Integer(random, 32); break;
            default: instruction.Immediate64 = EdgeValues.Integer(random, 64); break;
        }
    }

    private Register PickRegister(OpCodeOperandKind kind)
    {
        var n = random.Below(16);
        return kind switch
        {
            OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode or OpCodeOperandKind.r8_or_mem
                => random.Pick<Register>(ByteRegisters[random.Below(3)]),
            OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_opcode or OpCodeOperandKind.r16_or_mem or OpCodeOperandKind.r16_rm => Register.AX + n,
            OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_opcode or OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r32_rm or OpCodeOperandKind.r32_vvvv => Register.EAX + n,
            OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_opcode or OpCodeOperandKind.r64_or_mem or OpCodeOperandKind.r64_rm or OpCodeOperandKind.r64_vvvv => Register.RAX + n,
            OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.mm_rm => Register.MM0 + (n & 7),
            OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_vvvv => Register.XMM0 + n,
            OpCodeOperandKind.ymm_reg or OpCodeOperandKind.ymm_or_mem or OpCodeOperandKind.ymm_rm or OpCodeOperandKind.ymm_vvvv => Register.YMM0 + n,
            OpCodeOperandKind.st0 => Register.ST0,
            OpCodeOperandKind.sti_opcode => Register.ST0 + (n & 7),
            OpCodeOperandKind.seg_reg => Register.ES + random.Below(6),
            OpCodeOperandKind.cr_reg => random.Pick<Register>([Register.CR0, Register.CR2, Register.CR3, Register.CR4, Register.CR8]),
            OpCodeOperandKind.dr_reg => Register.DR0 + (n & 7),
            OpCodeOperandKind.al => Register.AL,
            OpCodeOperandKind.cl => Register.CL,
            OpCodeOperandKind.ax => Register.AX,
            OpCodeOperandKind.dx => Register.DX,
            OpCodeOperandKind.eax => Register.EAX,
            OpCodeOperandKind.rax => Register.RAX,
            OpCodeOperandKind.cs => Register.CS,
            OpCodeOperandKind.ds => Register.DS,
            OpCodeOperandKind.es => Register.ES,
            OpCodeOperandKind.fs => Register.FS,
            OpCodeOperandKind.gs => Register.GS,
            OpCodeOperandKind.ss => Register.SS,
            _ => Register.None,
        };
    }

    private void SetMemory(ref Instruction instruction, int i)
    {
        instruction.SetOpKind(i, OpKind.Memory);
        if (random.Chance(12))
            instruction.SegmentPrefix = random.Pick([Register.FS, Register.GS, Register.FS, Register.GS, Register.DS, Register.SS]);
        var segment = instruction.SegmentPrefix switch
        {
            Register.FS => Pointers.FsBase,
            Register.GS => Pointers.GsBase,
            _ => 0UL,
        };
        var wide = random.Chance(88);
        var shape = random.Below(20);
        if (shape == 0)
        {
            instruction.MemoryDisplSize = wide ? 8 : 4;
            instruction.MemoryDisplacement64 = Pointers.PickMapped(random) - segment & (wide ? ulong.MaxValue : uint.MaxValue);
            return;
        }
        if (shape == 1)
        {
            instruction.MemoryBase = wide ? Register.RIP : Register.EIP;
            instruction.MemoryDisplSize = wide ? 8 : 4;
            instruction.MemoryDisplacement64 = Pointers.PickMapped(random) - segment & (wide ? ulong.MaxValue : uint.MaxValue);
            return;
        }
        var first = wide ? Register.RAX : Register.EAX;
        if (shape != 2)
            instruction.MemoryBase = first + random.Below(16);
        if (shape is 2 or >= 12)
        {
            do
                instruction.MemoryIndex = first + random.Below(16);
            while (instruction.MemoryIndex == first + 4 || instruction.MemoryIndex == instruction.MemoryBase);
            instruction.MemoryIndexScale = 1 << random.Below(4);
        }
        switch (random.Below(3))
        {
            case 0 when shape != 2:
                break;
            case 1 when shape != 2:
                instruction.MemoryDisplSize = 1;
                instruction.MemoryDisplacement64 = (ulong)(sbyte)random.Next() & (wide ? ulong.MaxValue : uint.MaxValue);
                break;
            default:
                instruction.MemoryDisplSize = wide ? 8 : 4;
                instruction.MemoryDisplacement64 = (ulong)(random.Chance(50) ? random.Below(0x4000) - 0x2000 : (int)EdgeValues.Integer(random, 32)) & (wide ? ulong.MaxValue : uint.MaxValue);
                break;
        }
    }
}

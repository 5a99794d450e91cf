using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>
/// Everything that the manual leaves undefined and the comparison therefore leaves out: the one table of masks. Section names are
/// those of the instruction reference, SDM vol. 2, unless noted.
/// </summary>
internal static class UndefinedResults
{
    private const ulong Cf = 1, Pf = 4, Af = 0x10, Zf = 0x40, Sf = 0x80, Of = 0x800;
    private const ushort C1 = 0x200;

    /// <summary>Bits of RFLAGS that the instruction leaves undefined in this state.</summary>
    public static ulong Flags(in Instruction instruction, in CpuImage before) => instruction.Mnemonic switch
    {
        // "The state of the AF flag is undefined."
        Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test => Af,
        // "The SF, ZF, AF, and PF flags are undefined."
        Mnemonic.Mul or Mnemonic.Imul => Sf | Zf | Af | Pf,
        Mnemonic.Div or Mnemonic.Idiv => Cf | Of | Sf | Zf | Af | Pf,
        // "The CF, OF, SF, AF, and PF flags are undefined."
        Mnemonic.Bsf or Mnemonic.Bsr => Cf | Of | Sf | Af | Pf,
        // "The OF, SF, AF, and PF flags are undefined."
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc => Of | Sf | Af | Pf,
        // SAL/SAR/SHL/SHR: OF is defined for 1-bit shifts, AF for none, CF not beyond the operand's size (SAR excepted).
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar => Shift(instruction, before),
        // RCL/RCR/ROL/ROR: OF is defined for 1-bit rotates only.
        Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr => Count(instruction, before) > 1 ? Of : 0,
        // SHLD, SHRD: OF for 1-bit shifts only, AF never.
        Mnemonic.Shld or Mnemonic.Shrd => Count(instruction, before) switch { 0 => 0, 1 => Af, _ => Af | Of },
        Mnemonic.Andn => Af | Pf,
        Mnemonic.Bextr => Af | Sf | Pf,
        Mnemonic.Blsi or Mnemonic.Blsr or Mnemonic.Blsmsk or Mnemonic.Bzhi => Af | Pf,
        Mnemonic.Tzcnt or Mnemonic.Lzcnt => Of | Sf | Pf | Af,
        _ => 0,
    };

    /// <summary>Bits of the x87 status word that the instruction leaves undefined ("FPU Flags Affected").</summary>
    public static ushort StatusWord(in Instruction instruction)
        // C1 tells which way the last rounding went, and that is decided below the error bound of SDM vol. 1, 8.3.10.
        => Tolerance.IsTranscendental(instruction.Mnemonic) ? C1 : (ushort)0;

    /// <summary>States in which not only flags but the result itself is undefined; they are not run.</summary>
    public static bool IsResult(in Instruction instruction, in CpuImage before)
        // SHLD, SHRD: "If the count is greater than the operand size, the result is undefined."
        => instruction.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd && OperandBits(instruction) == 16 && Count(instruction, before) > 16;

    private static ulong Shift(in Instruction instruction, in CpuImage before)
    {
        var count = Count(instruction, before);
        if (count == 0)
            return 0;
        var undefined = Af | (count > 1 ? Of : 0);
        return count >= OperandBits(instruction) && instruction.Mnemonic != Mnemonic.Sar ? undefined | Cf : undefined;
    }

    private static int OperandBits(in Instruction instruction)
        => 8 * (instruction.Op0Kind == OpKind.Register ? instruction.Op0Register.GetSize() : instruction.MemorySize.GetSize());

    /// <summary>The shift count, reduced as the processor does: the last operand.</summary>
    private static unsafe int Count(in Instruction instruction, in CpuImage before)
    {
        var last = instruction.OpCount - 1;
        var count = instruction.GetOpKind(last) == OpKind.Register ? (int)before.Gpr[1] : instruction.Immediate8;
        return count & (OperandBits(instruction) == 64 ? 63 : 31);
    }
}

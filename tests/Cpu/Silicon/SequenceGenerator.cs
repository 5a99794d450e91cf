using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>
/// Straight runs of a few instructions, with conditional branches forward: what one handler leaves for the next (flags, scratch memory, a block's counts) shows in
/// no comparison of single instructions. No flag that is undefined is read.
/// </summary>
internal sealed class SequenceGenerator(SeededRandom random)
{
    private const int MaxBytes = 32, MaxInstructions = 6;
    private const byte JccRel8 = 0x70;

    private static readonly Code[] Usable = [.. SupportedForms.All.Where(IsUsable)];

    /// <summary>What most code is made of.</summary>
    private static readonly Code[] Usual = [.. Usable.Where(static code => code.CpuidFeatures() is [CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL386
        or CpuidFeature.INTEL486 or CpuidFeature.X64 or CpuidFeature.CMOV or CpuidFeature.SSE or CpuidFeature.SSE2])];

    private readonly InstructionFormGenerator _generator = new(random);

    public InstructionForm Next()
    {
        while (true)
        {
            if (TryMake() is { } form)
                return form;
        }
    }

    private InstructionForm? TryMake()
    {
        // Some cross into the second page.
        ulong start = random.Chance(10) ? CodeBase + PageSize - (ulong)(1 + random.Below(20)) : CodeBase + 0x400 + (ulong)random.Below(0x800);
        var bytes = new List<byte>();
        var made = new List<Instruction>();
        ulong undefined = 0, any = 0;
        while (made.Count < MaxInstructions && !(made.Count > 1 && random.Chance(20)))
        {
            Code code = random.Pick<Code>(random.Chance(70) ? Usual : Usable);
            if (_generator.Generate(code, 1) is not [var form] || !IsUsable(form.Instruction))
                continue;
            bool branch = made.Count != 0 && random.Chance(30);
            Instruction instruction = form.Instruction;
            ulong at = start + (ulong)(bytes.Count + (branch ? 2 : 0));
            if (InstructionFormGenerator.EncodeAt(instruction, at) is not { } encoded)
                continue;
            if (bytes.Count + encoded.Length + 2 > MaxBytes)
                break;
            ulong before = undefined;
            if (branch)
            {
                byte[] jump = [(byte)(JccRel8 | random.Below(16)), (byte)encoded.Length];
                Instruction conditional = Decode(jump, start + (ulong)bytes.Count);
                if ((Bits(conditional.RflagsRead) & undefined) != 0)
                    continue;
                bytes.AddRange(jump);
                made.Add(conditional);
            }
            if ((Bits(instruction.RflagsRead) & undefined) != 0)
            {
                if (!branch)
                    continue;
                return null;
            }
            // A count in a register may be 0, and then changes nothing.
            bool may = branch || instruction.OpCount > 1 && instruction.GetOpKind(instruction.OpCount - 1) == OpKind.Register && instruction.GetOpRegister(instruction.OpCount - 1) == Register.CL;
            undefined = (may ? before : undefined & ~Bits(instruction.RflagsModified)) | Bits(instruction.RflagsUndefined);
            any |= undefined;
            bytes.AddRange(encoded);
            made.Add(Decode(encoded, at));
        }
        return made.Count < 2 ? null : new InstructionForm(made[0], [.. bytes], start) { Following = [.. made.Skip(1)], UndefinedAtEnd = undefined, UndefinedBefore = any };
    }

    private static Instruction Decode(byte[] bytes, ulong address)
    {
        var decoder = Decoder.Create(64, bytes, address);
        return decoder.Decode();
    }

    private static bool IsUsable(Code code)
    {
        var info = code.ToOpCode();
        return code.FlowControl() == FlowControl.Next && Exclusions.Reason(code) is null && code.CpuidFeatures().All(HostFeatures.Has)
            && !info.IsPrivileged && !Tolerance.IsTranscendental(code.Mnemonic())
            && code.Mnemonic() is not (Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss
                or Mnemonic.Shld or Mnemonic.Shrd or Mnemonic.Popf or Mnemonic.Popfq or Mnemonic.Lsl or Mnemonic.Lar or Mnemonic.Verr or Mnemonic.Verw
                or Mnemonic.Lss or Mnemonic.Lfs or Mnemonic.Lgs or Mnemonic.Cmpxchg or Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b or Mnemonic.Xadd or Mnemonic.Xchg
                or Mnemonic.Std);
    }

    /// <summary>
    /// Not locked, and no masked move at a 32-bit address: a register that an earlier one has changed may make them cross cache lines, or wrap (<see cref="StateGenerator"/>).
    /// Not repeated, and no segment register.
    /// </summary>
    private static bool IsUsable(in Instruction instruction)
    {
        if (instruction.IsInvalid || instruction.HasLockPrefix || instruction.Op0Kind == OpKind.MemorySegEDI || instruction.HasRepPrefix || instruction.HasRepnePrefix)
            return false;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register && instruction.GetOpRegister(i).IsSegmentRegister())
                return false;
        }
        return true;
    }

    private static ulong Bits(RflagsBits flags)
    {
        ulong bits = 0;
        foreach ((RflagsBits flag, ulong bit) in ((RflagsBits, ulong)[])[(RflagsBits.CF, 1), (RflagsBits.PF, 4), (RflagsBits.AF, 0x10), (RflagsBits.ZF, 0x40), (RflagsBits.SF, 0x80), (RflagsBits.OF, 0x800)])
            bits |= (flags & flag) != 0 ? bit : 0;
        return bits;
    }
}

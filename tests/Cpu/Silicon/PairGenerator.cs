using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Two instructions in a row of those that have one handler together, and of those that nearly have (<see cref="Emulator.Hardware.Cpu.Pairs"/>).</summary>
internal sealed class PairGenerator(SeededRandom random)
{
    private const byte JccRel8 = 0x70;
    private const ulong AdjustFlag = 0x10;

    public static readonly Code[] Firsts =
    [
        Code.Cmp_r64_rm64, Code.Cmp_rm64_imm8, Code.Cmp_rm32_r32, Code.Cmp_rm32_imm32, Code.Cmp_rm8_imm8,
        Code.Test_rm64_r64, Code.Test_rm32_r32, Code.Test_rm64_imm32, Code.Test_EAX_imm32,
        Code.Add_rm64_imm8, Code.Add_rm64_imm32, Code.Add_RAX_imm32, Code.Add_rm32_imm8, Code.Add_r64_rm64, Code.Sub_rm64_imm8, Code.Sub_r32_rm32,
        Code.Movsd_xmm_xmmm64, Code.Movsd_xmmm64_xmm, Code.Movapd_xmm_xmmm128, Code.Movaps_xmm_xmmm128,
        Code.Addsd_xmm_xmmm64, Code.Subsd_xmm_xmmm64, Code.Mulsd_xmm_xmmm64, Code.Divsd_xmm_xmmm64,
    ];

    /// <summary>INVALID stands for all conditional jumps.</summary>
    public static readonly Code[] Seconds =
    [
        Code.INVALID, Code.Add_rm64_imm8, Code.Add_rm64_imm32, Code.Movsd_xmm_xmmm64, Code.Movsd_xmmm64_xmm, Code.Movsd_m32_m32,
        Code.Addsd_xmm_xmmm64, Code.Subsd_xmm_xmmm64, Code.Mulsd_xmm_xmmm64, Code.Divsd_xmm_xmmm64,
    ];

    private readonly InstructionFormGenerator _generator = new(random);

    public InstructionForm Next(Code first, Code second)
    {
        while (true)
        {
            if (TryMake(first, second) is { } form)
                return form;
        }
    }

    private InstructionForm? TryMake(Code first, Code second)
    {
        // Some cross into the second page, some end with the first.
        ulong start = random.Chance(10) ? CodeBase + PageSize - (ulong)(1 + random.Below(20)) : CodeBase + 0x400 + (ulong)random.Below(0x800);
        if (Encode(first, start) is not { } bytes)
            return null;
        ulong next = start + (ulong)bytes.Length;
        byte[]? tail = second == Code.INVALID ? [(byte)(JccRel8 | random.Below(16)), (byte)random.Below(100)] : Encode(second, next);
        if (tail == null)
            return null;
        Instruction one = Decode(bytes, start), two = Decode(tail, next);
        ulong undefined = (one.RflagsUndefined & RflagsBits.AF) != 0 ? AdjustFlag : 0;
        return new InstructionForm(one, [.. bytes, .. tail], start)
        {
            Following = [two],
            OfDoubles = true,
            UndefinedAtEnd = two.RflagsModified == RflagsBits.None ? undefined : 0,
            UndefinedBefore = undefined,
        };
    }

    private byte[]? Encode(Code code, ulong at)
    {
        // An even number of attempts would give nothing but registers.
        if (_generator.Generate(code, 2) is not { Count: > 0 } forms)
            return null;
        Instruction instruction = random.Pick<InstructionForm>([.. forms]).Instruction;
        if (instruction.IsInvalid || instruction.HasLockPrefix || instruction.HasRepPrefix || instruction.HasRepnePrefix && code == Code.Movsd_m32_m32)
            return null;
        return InstructionFormGenerator.EncodeAt(instruction, at);
    }

    private static Instruction Decode(byte[] bytes, ulong address) => Decoder.Create(64, bytes, address).Decode();
}

using System.Collections.Immutable;
using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>Which instructions there are, found by asking <see cref="InstructionBinder"/> about an example of each. Takes a moment; nothing is kept.</summary>
public static unsafe class SupportedInstructions
{
    private const int Longest = 15;

    private static readonly byte[][] LegacyPrefixes =
        [.. from size in (byte[][])[[], [0x66], [0x67], [0x67, 0x66]] from repeat in (byte[][])[[], [0xF2], [0xF3]] from rex in (byte[][])[[], [0x48]] select (byte[])[.. size, .. repeat, .. rex]];

    /// <summary>Every form, in Iced's order, that a decoder finds in 64-bit code and that the interpreter executes when all extensions are on.</summary>
    public static ImmutableArray<Code> Find() => [.. Enum.GetValues<Code>().Where(static code => Example(code) is { } instruction && IsImplemented(instruction))];

    /// <summary>Whether the interpreter executes the instruction, or faults as a processor does.</summary>
    public static bool IsImplemented(in Instruction instruction)
    {
        // In bounds: bound, not run; the examples are ours.
        Op op = default;
        var binding = new Binding { Instruction = ref instruction, Op = &op, Features = CpuFeatures.Max, BlockRip = instruction.IP };
        return instruction.Code != Code.INVALID && InstructionBinder.Bind(ref binding);
    }

    /// <summary>An instruction of the form, with whatever operands zero bytes make; null: no bytes in 64-bit code are decoded as that form.</summary>
    private static Instruction? Example(Code code)
    {
        OpCodeInfo form = code.ToOpCode();
        if (!form.IsInstruction || !form.Mode64)
            return null;
        foreach (byte[] start in form.Encoding switch { EncodingKind.Legacy => Legacy(form), EncodingKind.VEX => Vex(form), _ => [] })
        {
            // What selects among the instructions of a group, with a memory operand and with a register.
            int modrm = Math.Max(form.GroupIndex, 0) << 3 | Math.Max(form.RmGroupIndex, 0);
            foreach (int mode in (int[])[0xC0, 0x00])
            {
                // With register 0 some bytes are another form's: that of NOP.
                foreach ((int inOpCode, int inModRm) in ((int, int)[])[(0, 0), (0, 1), (1, 0)])
                {
                    byte[] bytes = new byte[Longest];
                    start.CopyTo(bytes, 0);
                    bytes[start.Length - 1] += (byte)inOpCode;
                    bytes[start.Length] = (byte)(mode | modrm | inModRm << 3);
                    Instruction instruction = Iced.Intel.Decoder.Create(64, bytes).Decode();
                    if (instruction.Code == code)
                        return instruction;
                }
            }
        }
        return null;
    }

    /// <summary>All prefixes that may matter, the escape bytes of the opcode's table, and the opcode (SDM vol. 2, 2.1).</summary>
    private static IEnumerable<byte[]> Legacy(OpCodeInfo form)
    {
        byte[] escape = form.Table switch
        {
            OpCodeTableKind.T0F => [0x0F],
            OpCodeTableKind.T0F38 => [0x0F, 0x38],
            OpCodeTableKind.T0F3A => [0x0F, 0x3A],
            _ => [],
        };
        return LegacyPrefixes.Select(prefix => (byte[])[.. prefix, .. escape, .. OpCode(form)]);
    }

    /// <summary>The three-byte VEX prefix with each W, L and mandatory prefix (SDM vol. 2, 2.3.5).</summary>
    private static IEnumerable<byte[]> Vex(OpCodeInfo form)
    {
        int table = form.Table switch { OpCodeTableKind.T0F => 1, OpCodeTableKind.T0F38 => 2, OpCodeTableKind.T0F3A => 3, _ => 0 };
        for (int bits = 0; bits < 16; bits++)
        {
            int last = (bits & 8) << 4 | 0x78 | bits & 7;
            yield return [0xC4, (byte)(0xE0 | table), (byte)last, .. OpCode(form)];
        }
    }

    private static byte[] OpCode(OpCodeInfo form) => form.OpCodeLength == 2 ? [(byte)(form.OpCode >> 8), (byte)form.OpCode] : [(byte)form.OpCode];
}

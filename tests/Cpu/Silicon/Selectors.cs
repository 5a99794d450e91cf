using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Values for instructions that read selectors: those of Linux's table, near misses of each kind, and frames for far transfers.</summary>
internal static unsafe class Selectors
{
    /// <summary>User code, data, per-processor, 32-bit code with each privilege; the kernel's; system descriptors; empty ones; beyond the table; a local table's.</summary>
    private static ReadOnlySpan<ushort> Values =>
    [
        0x33, 0x33, 0x33, 0x2B, 0x2B, 0x2B, 0x7B, 0x7B, 0x33, 0x2B, 0x30, 0x31, 0x32, 0x28, 0x29, 0x2A, 0x78, 0x7A, 0x23, 0x20,
        0, 0, 1, 2, 3, 0x08, 0x10, 0x18, 0x1B, 0x13, 0x40, 0x43, 0x48, 0x50, 0x5B, 0x63, 0x6B, 0x73, 0x83, 0x80, 0x37, 0x2F, 4, 7, 0xFFFF, 0x8033,
    ];

    public static ushort Pick(SeededRandom random, in Instruction instruction)
    {
        while (true)
        {
            var value = random.Pick(Values);
            // The limit of this segment is the number of the processor, and the host's scheduler chooses that.
            if (instruction.Mnemonic != Mnemonic.Lsl || (value & ~3) != 0x78)
                return value;
        }
    }

    /// <summary>ES and DS hold any segment; the rest is what the processor runs user code with.</summary>
    public static void Start(SeededRandom random, ref CpuImage state)
    {
        state.Selectors[0] = random.Pick<ushort>([0, 0, 0x2B, 0x33, 0x23, 0x7B]);
        state.Selectors[3] = random.Pick<ushort>([0, 0, 0x2B, 0x28, 0x30, 0x7B]);
        (state.Selectors[1], state.Selectors[2]) = (0x33, 0x2B);
        (state.Selectors[4], state.Selectors[5]) = (0, 0);
    }

    /// <summary>The general register whose low word the instruction takes for a selector.</summary>
    public static Register Register(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Lar or Mnemonic.Lsl when instruction.Op1Kind == OpKind.Register => instruction.Op1Register,
        Mnemonic.Verr or Mnemonic.Verw when instruction.Op0Kind == OpKind.Register => instruction.Op0Register,
        Mnemonic.Mov when LoadsSegment(instruction) && instruction.Op1Kind == OpKind.Register => instruction.Op1Register,
        _ => Iced.Intel.Register.None,
    };

    /// <summary>Whether the instruction reads selectors from memory or the stack.</summary>
    public static bool AreIn(in Instruction instruction) => Slots(instruction) != 0 || instruction.Mnemonic is Mnemonic.Lar or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw
        || (instruction.Mnemonic is Mnemonic.Mov or Mnemonic.Pop && LoadsSegment(instruction));

    private static bool LoadsSegment(in Instruction instruction) => instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister();

    /// <summary>Length in slots of the frames with which a far transfer's memory is filled; 0 for other instructions.</summary>
    private static int Slots(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq => 5,
        Mnemonic.Retf or Mnemonic.Lss or Mnemonic.Lfs or Mnemonic.Lgs => 2,
        Mnemonic.Call or Mnemonic.Jmp when instruction.Code is Code.Call_m1616 or Code.Call_m1632 or Code.Call_m1664 or Code.Jmp_m1616 or Code.Jmp_m1632 or Code.Jmp_m1664 => 2,
        _ => 0,
    };

    private static int SlotBytes(in Instruction instruction) => instruction.Code switch
    {
        Code.Iretw or Code.Retfw or Code.Retfw_imm16 or Code.Lss_r16_m1616 or Code.Lfs_r16_m1616 or Code.Lgs_r16_m1616 or Code.Call_m1616 or Code.Jmp_m1616 => 2,
        Code.Iretd or Code.Retfd or Code.Retfd_imm16 or Code.Lss_r32_m1632 or Code.Lfs_r32_m1632 or Code.Lgs_r32_m1632 or Code.Call_m1632 or Code.Jmp_m1632 => 4,
        _ => 8,
    };

    /// <summary>
    /// Frames of RIP, CS, flags, RSP and SS, or of the first two, one after the other, most slots as they should be; selectors in every slot for
    /// an instruction that reads nothing else.
    /// </summary>
    public static void FillMemory(SeededRandom random, in Instruction instruction, Span<byte> page, Func<ulong> target)
    {
        int slots = Slots(instruction), bytes = SlotBytes(instruction);
        Span<byte> value = stackalloc byte[8];
        for (var at = 0; at < page.Length; at += bytes)
        {
            var slot = slots == 0 ? -1 : at / bytes % slots;
            if (slots != 0 && random.Chance(6))
                slot = random.Below(6);
            var content = slot switch
            {
                0 => target(),
                1 => random.Chance(80) ? 0x33UL : Pick(random, instruction),
                2 => random.Next() & (random.Chance(70) ? 0xCD5UL : 0x3F_7FFF),
                3 => Pointers.Pick(random, 8),
                4 => random.Chance(80) ? 0x2BUL : Pick(random, instruction),
                5 => EdgeValues.Integer(random, 64),
                _ => (ulong)Pick(random, instruction),
            };
            // The processor ignores what lies above a selector.
            if (slot is 1 or 4 && random.Chance(30))
                content |= random.Next() << 16;
            BitConverter.TryWriteBytes(value, content);
            value[..bytes].CopyTo(page[at..]);
        }
    }

    /// <summary>
    /// An IRET that pops AC from a misaligned stack raises #AC with AC clear in the saved flags; Linux takes that for a split lock and starts it again, for
    /// ever (arch/x86/kernel/cpu/bus_lock.c:handle_user_split_lock).
    /// </summary>
    public static bool NeverEnd(in Instruction instruction, in CpuImage state, ReadOnlySpan<byte> data)
    {
        int bytes = SlotBytes(instruction);
        if (Slots(instruction) != 5 || bytes == 2 || state.Gpr[4] % (ulong)bytes == 0)
            return false;
        var flags = state.Gpr[4] + (ulong)(2 * bytes) - SiliconLayout.DataBase;
        return flags < (ulong)data.Length - 4 && (BitConverter.ToUInt32(data[(int)flags..]) & Emulator.Hardware.Cpu.Flags.AlignmentCheck) != 0;
    }
}

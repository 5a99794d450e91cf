using System.Runtime.InteropServices;
using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Names what differs between the processor's outcome and the interpreter's.</summary>
internal static unsafe class Comparison
{
    private const ulong ResumeFlag = 1 << 16;
    /// <summary>End of a Linux process's addresses (arch/x86/include/asm/page_64.h, TASK_SIZE_MAX).</summary>
    private const ulong TaskSizeMax = 0x7FFF_FFFF_F000;
    private static readonly string[] Names = ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];

    private static readonly string[] Segments = ["ES", "CS", "SS", "DS", "FS", "GS"];

    /// <param name="undefined">Flags that are left out besides those that the instruction does not define.</param>
    /// <summary>Differences, each as "field: processor's value, interpreter's value"; empty when the outcomes agree.</summary>
    public static List<string> Differences(in Instruction instruction, in CpuImage before, ref CpuOutcome expected, ref CpuOutcome actual, ulong undefined = 0)
    {
        var found = new List<string>();
        void Check(string field, ulong want, ulong have)
        {
            if (want != have)
                found.Add($"{field}: {want:X}, not {have:X}");
        }

        Check("vector", (ulong)expected.Vector, (ulong)actual.Vector);
        var error = expected.ErrorCode;
        if (expected.Vector == 14)
        {
            Check("CR2", expected.FaultAddress, actual.FaultAddress);
            // The kernel reports the protection bit for all its own addresses (arch/x86/mm/fault.c:sanitize_error_code).
            if (expected.FaultAddress >= TaskSizeMax)
                error = (error & ~1UL) | (actual.ErrorCode & 1);
        }
        if (expected.Vector is 10 or 11 or 12 or 13 or 14 or 17)
            Check("error code", error, actual.ErrorCode);
        for (var i = 0; i < 16; i++)
            Check(Names[i], expected.State.Gpr[i], actual.State.Gpr[i]);
        Check("RIP", expected.State.Rip, actual.State.Rip);
        // RF is part of the frame that the exception pushes (SDM vol. 3, 18.3.1.1), not of the state before it.
        var masked = ResumeFlag | UndefinedResults.Flags(instruction, before) | undefined;
        Check("RFLAGS", expected.State.Rflags & ~masked, actual.State.Rflags & ~masked);
        for (var i = 0; i < Segments.Length; i++)
            Check(Segments[i], Selector(expected.State.Selectors[i]), Selector(actual.State.Selectors[i]));
        Check("FS base", expected.State.FsBase, actual.State.FsBase);
        Check("GS base", expected.State.GsBase, actual.State.GsBase);
        Check("MXCSR", expected.State.Mxcsr, actual.State.Mxcsr);
        Check("FCW", expected.State.X87Control, actual.State.X87Control);
        var status = UndefinedResults.StatusWord(instruction);
        Check("FSW", (ulong)(expected.State.X87Status & ~status), (ulong)(actual.State.X87Status & ~status));
        Check("FTW", expected.State.X87Tag, actual.State.X87Tag);
        Check("FOP", MemoryMarshal.Read<ushort>(expected.State.FxArea[CpuImage.FxOpcode..]), MemoryMarshal.Read<ushort>(actual.State.FxArea[CpuImage.FxOpcode..]));
        Check("FIP", Pointer(ref expected, CpuImage.FxInstruction), Pointer(ref actual, CpuImage.FxInstruction));
        Check("FDP", Pointer(ref expected, CpuImage.FxData), Pointer(ref actual, CpuImage.FxData));
        for (var i = 0; i < 8; i++)
        {
            Span<byte> want = expected.State.St(i), have = actual.State.St(i);
            if (!want.SequenceEqual(have) && !Tolerance.Extended(instruction, want, have))
                found.Add($"ST{i}: {Hex(want)}, not {Hex(have)}");
        }
        for (var i = 0; i < 16; i++)
        {
            Span<byte> want = expected.State.Xmm(i), have = actual.State.Xmm(i);
            if (!want.SequenceEqual(have) && !Tolerance.Vector(instruction, want, have))
                found.Add($"XMM{i}: {Hex(want)}, not {Hex(have)}");
        }
        return found;
    }

    /// <summary>The kernel's IRET, through which a native outcome comes, clears the privilege of null selectors (SDM vol. 2, IRET).</summary>
    private static ulong Selector(ushort selector) => (selector & ~3) == 0 ? 0u : selector;

    /// <summary>A pointer of the x87 unit: processors keep as many bits as their linear addresses have, and we compare the 48 that all have.</summary>
    private static ulong Pointer(ref CpuOutcome outcome, int offset)
        => (ulong)((long)(MemoryMarshal.Read<ulong>(outcome.State.FxArea[offset..]) << 16) >> 16);

    /// <summary>Adds the writable pages' differences; <paramref name="actual"/> holds all seven data pages.</summary>
    public static void MemoryDifferences(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual, List<string> found)
    {
        var at = 0;
        for (var page = 0; page < DataPages; page++)
        {
            if (!IsWritable(page))
                continue;
            ReadOnlySpan<byte> want = expected.Slice(at, PageSize), have = actual.Slice(page * PageSize, PageSize);
            at += PageSize;
            if (want.SequenceEqual(have))
                continue;
            var first = want.CommonPrefixLength(have);
            var last = PageSize;
            while (want[last - 1] == have[last - 1])
                last--;
            var shown = Math.Min(last, first + 32);
            found.Add($"memory {DataBase + (ulong)((page * PageSize) + first):X} ({last - first} bytes): {Convert.ToHexString(want[first..shown])}, not {Convert.ToHexString(have[first..shown])}");
        }
    }

    /// <summary>The state in full, for a failure's message.</summary>
    public static string Describe(ref CpuImage state)
    {
        var text = new System.Text.StringBuilder();
        for (var i = 0; i < 16; i++)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"{Names[i]}={state.Gpr[i]:X} ");
        for (var i = 0; i < Segments.Length; i++)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"{Segments[i]}={state.Selectors[i]:X} ");
        text.Append(System.Globalization.CultureInfo.InvariantCulture, $"RFLAGS={state.Rflags:X} MXCSR={state.Mxcsr:X} FCW={state.X87Control:X} FSW={state.X87Status:X} FTW={state.X87Tag:X}");
        return text.ToString();
    }

    public static string DescribeVectors(ref CpuImage state, in Instruction instruction)
    {
        var text = new System.Text.StringBuilder();
        for (var i = 0; i < instruction.OpCount; i++)
        {
            var register = instruction.GetOpKind(i) == OpKind.Register ? instruction.GetOpRegister(i) : Register.None;
            if (register.IsXMM())
                text.Append($" {register}={Hex(state.Xmm(register.GetNumber()))}");
            else if (register.IsMM())
                text.Append($" {register}={Hex(state.St((register.GetNumber() - (state.X87Status >> 11)) & 7))}");
        }
        if (instruction.Code.CpuidFeatures()[0] is CpuidFeature.FPU or CpuidFeature.FPU387 or CpuidFeature.FPU287)
        {
            for (var i = 0; i < 8; i++)
                text.Append($" ST{i}={Hex(state.St(i))}");
        }
        return text.ToString();
    }

    /// <summary>Where the explicit memory operand lies, and what it is; for a far return, the top of the stack.</summary>
    public static string DescribeOperand(ref CpuImage state, in Instruction instruction, ReadOnlySpan<byte> data)
    {
        if (instruction.FlowControl == FlowControl.Return && state.Gpr[4] - DataBase is var top && top <= (ulong)data.Length - 40)
            return $" stack={Hex(data.Slice((int)top, 40))}";
        ulong[] registers = new ReadOnlySpan<ulong>(System.Runtime.CompilerServices.Unsafe.AsPointer(ref state), 16).ToArray();
        ulong fs = state.FsBase, gs = state.GsBase;
        for (var i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) != OpKind.Memory)
                continue;
            var address = instruction.GetVirtualAddress(i, 0, (register, _, _) => register.IsGPR() ? registers[register.GetFullRegister() - Register.RAX]
                : register == Register.FS ? fs : register == Register.GS ? gs : 0);
            var offset = address - DataBase;
            var value = offset <= (ulong)data.Length - 16 ? Hex(data.Slice((int)offset, 16)) : "?";
            return $" operand={value} at {address:X}";
        }
        return "";
    }

    /// <summary>Most significant byte first.</summary>
    private static string Hex(ReadOnlySpan<byte> bytes)
    {
        var copy = bytes.ToArray();
        Array.Reverse(copy);
        return Convert.ToHexString(copy);
    }
}

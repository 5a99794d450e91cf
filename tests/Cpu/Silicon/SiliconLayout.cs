namespace Emulator.Tests.Cpu.Silicon;

/// <summary>
/// The address map that the native agent and the interpreter share, and the layout of the memory through which cases and
/// results pass. All addresses are guest virtual and native at once, which is why they are fixed and low; their distances are no round
/// numbers, so that edge values used as offsets do not lead from one region into another.
/// </summary>
internal static class SiliconLayout
{
    public const int PageSize = 4096;

    /// <summary>Two executable pages, filled with HLT; the page on either side is absent.</summary>
    public const ulong CodeBase = 0x1450_0000;
    public const int CodePages = 2;
    public const byte Hlt = 0xF4;

    /// <summary>
    /// Seven pages in which every kind of page lies beside every other that makes a difference: read-only, writable, writable,
    /// read-only, absent, writable, absent. The page before the first is absent as well.
    /// </summary>
    public const ulong DataBase = 0x2000_0000;
    public const int DataPages = 7;

    public static bool IsMapped(int dataPage) => dataPage is not (4 or 6);

    public static bool IsWritable(int dataPage) => dataPage is 1 or 2 or 5;

    /// <summary>Bytes of the writable pages 1, 2 and 5, in this order, as a result holds them.</summary>
    public const int ResultDataBytes = 3 * PageSize;

    // The shared file, mapped by the agent at Control.
    public const ulong Control = 0x3640_0000;
    public const ulong AlternateStack = 0x6B3E_40A5_0000;
    public const int AlternateStackBytes = 0x1_0000;
    public const int CountOffset = 0;
    public const int IndexOffset = 8;
    public const int ByteOffset = 16;
    public const int PristineOffset = PageSize;
    public const int InputsOffset = PristineOffset + (DataPages * PageSize);
    public const int InputShift = 10;
    public const int MaxCases = 64;
    public const int ResultsOffset = InputsOffset + (MaxCases << InputShift);
    public const int ResultShift = 14;
    public const int SharedBytes = ResultsOffset + (MaxCases << ResultShift);

    // An input is an rt_sigframe (arch/x86/include/asm/sigframe.h) with its FXSAVE image, then what the frame cannot carry.
    public const int FrameContext = 8;
    public const int ContextAltStack = 16;
    public const int ContextRegisters = 40;
    public const int RegistersBytes = 256;
    public const int FloatingPointer = 184;
    public const int InputFx = 320;
    public const int InputFsBase = 832;
    public const int InputGsBase = 840;
    public const int InputCodeAddress = 848;
    public const int InputCodeLength = 856;
    public const int InputCodeBytes = 864;
    /// <summary>ES and DS.</summary>
    public const int InputSelectors = 896;

    // A result: sigcontext, siginfo, segment bases, FXSAVE image, then the writable pages.
    public const int ResultInfo = 256;
    public const int ResultInfoBytes = 128;
    public const int ResultFsBase = 384;
    public const int ResultGsBase = 392;
    /// <summary>ES, DS, FS, GS.</summary>
    public const int ResultSelectors = 400;
    public const int ResultFx = 512;
    public const int ResultData = PageSize;
}

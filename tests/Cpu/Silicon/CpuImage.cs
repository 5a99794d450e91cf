using System.Runtime.InteropServices;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Registers as both sides exchange them: general registers in the order of their numbers, x87 and SSE as an FXSAVE64 image.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CpuImage
{
    public const int FxBytes = 512;
    public const int FxControl = 0, FxStatus = 2, FxTag = 4, FxOpcode = 6, FxInstruction = 8, FxData = 16, FxMxcsr = 24, FxSt = 32, FxXmm = 160;

    public fixed ulong Gpr[16];
    public ulong Rip;
    public ulong Rflags;
    public ulong FsBase;
    public ulong GsBase;
    /// <summary>ES, CS, SS, DS, FS, GS. A case starts with ES and DS as it says, and the others as Linux starts a program.</summary>
    public fixed ushort Selectors[8];
    public fixed byte Fx[FxBytes];

    public Span<byte> FxArea => MemoryMarshal.CreateSpan(ref Fx[0], FxBytes);

    public ushort X87Control
    {
        get => MemoryMarshal.Read<ushort>(FxArea[FxControl..]);
        set => MemoryMarshal.Write(FxArea[FxControl..], value);
    }

    public ushort X87Status
    {
        get => MemoryMarshal.Read<ushort>(FxArea[FxStatus..]);
        set => MemoryMarshal.Write(FxArea[FxStatus..], value);
    }

    public byte X87Tag
    {
        get => Fx[FxTag];
        set => Fx[FxTag] = value;
    }

    public uint Mxcsr
    {
        get => MemoryMarshal.Read<uint>(FxArea[FxMxcsr..]);
        set => MemoryMarshal.Write(FxArea[FxMxcsr..], value);
    }

    public Span<byte> St(int i) => FxArea.Slice(FxSt + (16 * i), 10);

    public Span<byte> Xmm(int i) => FxArea.Slice(FxXmm + (16 * i), 16);
}

/// <summary>One case: a state to enter and the bytes to place at an address before.</summary>
internal unsafe struct CpuCase
{
    public CpuImage State;
    public ulong CodeAddress;
    public int CodeLength;
    public fixed byte Code[32];

    public readonly ReadOnlySpan<byte> CodeBytes => MemoryMarshal.CreateReadOnlySpan(in Code[0], CodeLength);

    public void SetCode(ReadOnlySpan<byte> bytes)
    {
        CodeLength = bytes.Length;
        bytes.CopyTo(MemoryMarshal.CreateSpan(ref Code[0], 32));
    }
}

/// <summary>How a case ended: the state when the exception was raised, and the exception.</summary>
internal struct CpuOutcome
{
    public CpuImage State;
    public int Vector;
    public ulong ErrorCode;
    /// <summary>CR2; meaningful after #PF only.</summary>
    public ulong FaultAddress;
}

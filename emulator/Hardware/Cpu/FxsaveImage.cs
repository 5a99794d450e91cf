using System.Buffers.Binary;

namespace Emulator.Hardware.Cpu;

/// <summary>The 512-byte image of FXSAVE64 and FXRSTOR64 (SDM vol. 1, 10.5.1): x87, MXCSR and XMM registers.</summary>
public static unsafe class FxsaveImage
{
    public const int Size = 512;

    /// <summary>MXCSR bits that may be set; others make FXRSTOR and LDMXCSR fault.</summary>
    public const uint MxcsrMask = 0xFFFF;

    private const int Stack = 32, Xmm = 160, XmmCount = 16;

    /// <summary>Writes the image; the bytes from 416 on, which software may use, become zero.</summary>
    public static void Store(VcpuRegisters* r, Span<byte> to)
    {
        to[..Size].Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(to, r->X87.Control);
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], r->X87.Status);
        to[4] = r->X87.Valid;
        BinaryPrimitives.WriteUInt16LittleEndian(to[6..], r->X87.Opcode);
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], r->X87.InstructionPointer);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], r->X87.DataPointer);
        BinaryPrimitives.WriteUInt32LittleEndian(to[24..], r->Mxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(to[28..], MxcsrMask);
        int top = r->X87.Status >> 11 & 7;
        for (int i = 0; i < 8; i++)
        {
            int physical = (top + i) & 7;
            BinaryPrimitives.WriteUInt64LittleEndian(to[(Stack + 16 * i)..], r->X87.Registers[2 * physical]);
            BinaryPrimitives.WriteUInt16LittleEndian(to[(Stack + 16 * i + 8)..], (ushort)r->X87.Registers[2 * physical + 1]);
        }
        for (int i = 0; i < XmmCount; i++)
            new ReadOnlySpan<byte>(r->Vectors + i * VcpuRegisters.VectorSlot, 16).CopyTo(to[(Xmm + 16 * i)..]);
    }

    /// <summary>Loads the image. False, with nothing changed, when it holds reserved MXCSR bits: #GP(0).</summary>
    public static bool Load(VcpuRegisters* r, ReadOnlySpan<byte> from)
    {
        uint mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(from[24..]);
        if ((mxcsr & ~MxcsrMask) != 0)
            return false;
        r->Mxcsr = mxcsr;
        r->X87.Control = (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(from) | 0x40);
        r->X87.Status = BinaryPrimitives.ReadUInt16LittleEndian(from[2..]);
        r->X87.Valid = from[4];
        r->X87.Opcode = (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(from[6..]) & 0x7FF);
        r->X87.InstructionPointer = BinaryPrimitives.ReadUInt64LittleEndian(from[8..]);
        r->X87.DataPointer = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]);
        int top = r->X87.Status >> 11 & 7;
        for (int i = 0; i < 8; i++)
        {
            int physical = (top + i) & 7;
            r->X87.Registers[2 * physical] = BinaryPrimitives.ReadUInt64LittleEndian(from[(Stack + 16 * i)..]);
            r->X87.Registers[2 * physical + 1] = BinaryPrimitives.ReadUInt16LittleEndian(from[(Stack + 16 * i + 8)..]);
        }
        for (int i = 0; i < XmmCount; i++)
            from.Slice(Xmm + 16 * i, 16).CopyTo(new Span<byte>(r->Vectors + i * VcpuRegisters.VectorSlot, 16));
        return true;
    }

    /// <summary>The x87 and SSE state of a new program: FNINIT, MXCSR 1F80, registers zero.</summary>
    public static void Reset(VcpuRegisters* r)
    {
        r->X87 = default;
        r->X87.Control = 0x37F;
        r->Mxcsr = 0x1F80;
        new Span<byte>(r->Vectors, 32 * VcpuRegisters.VectorSlot).Clear();
    }
}

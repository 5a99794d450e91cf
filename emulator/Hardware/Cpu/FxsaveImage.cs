using System.Runtime.CompilerServices;
using Emulator.Hardware.Cpu.X87;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu;

/// <summary>The 512-byte image of FXSAVE and FXRSTOR (SDM vol. 1, 10.5.1), also used for signal frames.</summary>
public static unsafe class FxsaveImage
{
    /// <summary>Bytes of the image, and of its part that the processor writes.</summary>
    public const int Size = 512, Written = 416;

    /// <summary>MXCSR bits that exist (SDM vol. 1, 10.2.3).</summary>
    public const uint MxcsrMask = 0xFFFF;

    private const int RegistersOffset = 32, VectorsOffset = 160, RegisterSlot = 16, Vectors = 16;

    /// <summary>Pieces in which an image passes through the vCPU's bounce buffer.</summary>
    // In bounds: four of them are Written, and one fits the bounce buffer.
    private const int Piece = 104;

    /// <summary>Writes the image; the bytes from <see cref="Written"/> on become zero.</summary>
    public static void Store(VcpuRegisters* r, Span<byte> to)
    {
        to[..Size].Clear();
        fixed (byte* image = to)
            Store(r, image, wide: true);
    }

    /// <summary>Loads the image. False, with nothing changed, when it holds reserved MXCSR bits: #GP(0).</summary>
    public static bool Load(VcpuRegisters* r, ReadOnlySpan<byte> from)
    {
        fixed (byte* image = from[..Written])
            return Load(r, image, wide: true);
    }

    /// <summary>The x87 and SSE state of a new program: FNINIT, MXCSR 1F80, registers zero.</summary>
    public static void Reset(VcpuRegisters* r)
    {
        r->X87 = default;
        r->X87.Control = 0x37F;
        r->Mxcsr = 0x1F80;
        new Span<byte>(r->Vectors, VcpuRegisters.VectorCount * VcpuRegisters.VectorSlot).Clear();
    }

    /// <param name="wide">FXSAVE64: the instruction and operand pointers have 64 bits.</param>
    internal static void Store(VcpuRegisters* r, byte* image, bool wide)
    {
        X87State* s = &r->X87;
        Unsafe.InitBlockUnaligned(image, 0, RegistersOffset);
        *(ushort*)image = s->Control;
        *(ushort*)(image + 2) = s->Status;
        image[4] = s->Valid;
        *(ushort*)(image + 6) = s->Opcode;
        *(ulong*)(image + 8) = wide ? s->InstructionPointer : (uint)s->InstructionPointer;
        *(ulong*)(image + 16) = wide ? s->DataPointer : (uint)s->DataPointer;
        *(uint*)(image + 24) = r->Mxcsr;
        *(uint*)(image + 28) = MxcsrMask;
        for (int i = 0; i < 8; i++)
        {
            Float80 value = X87Stack.Get(s, i);
            ulong* slot = (ulong*)(image + RegistersOffset + (i * RegisterSlot));
            slot[0] = value.Significand;
            slot[1] = value.SignExponent;
        }
        for (int i = 0; i < Vectors; i++)
            Unsafe.CopyBlockUnaligned(image + VectorsOffset + (i * 16), r->Vectors + (i * VcpuRegisters.VectorSlot), 16);
    }

    internal static bool Load(VcpuRegisters* r, byte* image, bool wide)
    {
        uint mxcsr = *(uint*)(image + 24);
        if ((mxcsr & ~MxcsrMask) != 0)
            return false;
        X87State* s = &r->X87;
        s->Status = *(ushort*)(image + 2);
        X87Control.SetControl(s, *(ushort*)image);
        s->Valid = image[4];
        s->Opcode = (ushort)(*(ushort*)(image + 6) & 0x7FF);
        // Kept in the 57 bits of a linear address.
        s->InstructionPointer = wide ? (ulong)(*(long*)(image + 8) << 7 >> 7) : *(uint*)(image + 8);
        s->DataPointer = wide ? *(ulong*)(image + 16) : *(uint*)(image + 16);
        r->Mxcsr = mxcsr;
        for (int i = 0; i < 8; i++)
        {
            byte* slot = image + RegistersOffset + (i * RegisterSlot);
            X87Stack.Put(s, i, new Float80(*(ulong*)slot, *(ushort*)(slot + 8)));
        }
        for (int i = 0; i < Vectors; i++)
            Unsafe.CopyBlockUnaligned(r->Vectors + (i * VcpuRegisters.VectorSlot), image + VectorsOffset + (i * 16), 16);
        return true;
    }

    /// <summary>FXSAVE to guest memory, <paramref name="last"/> being the address of the image's last byte; false with the fault recorded.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool Write(VcpuState* c, ulong address, ulong last, bool wide)
    {
        // Both pages are checked before anything is written, the last one first as processors do.
        if (Mmu.ModifySlow(c, last, 1) == null || Mmu.ModifySlow(c, address, 1) == null)
            return false;
        byte* image = stackalloc byte[Written];
        Store(&c->Registers, image, wide);
        for (int done = 0; done < Written; done += Piece)
        {
            if (!Mmu.WriteSlow(c, address + (uint)done, image + done, Piece))
                return false;
        }
        return true;
    }

    /// <summary>FXRSTOR; false with the fault recorded, #GP for reserved bits.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool Read(VcpuState* c, ulong address, ulong last, bool wide)
    {
        if (Mmu.ReadSlow(c, last, 1) == null)
            return false;
        byte* image = stackalloc byte[Written];
        for (int done = 0; done < Written; done += Piece)
        {
            byte* piece = Mmu.ReadSlow(c, address + (uint)done, Piece);
            if (piece == null)
                return false;
            Unsafe.CopyBlockUnaligned(image + done, piece, Piece);
        }
        if (Load(&c->Registers, image, wide))
            return true;
        c->Vector = Vector.GeneralProtection;
        c->ErrorCode = 0;
        return false;
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Emulator.Hardware.Memory;
using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// XSAVE, XSAVEOPT, XSAVEC, XRSTOR (SDM vol. 1, 13.7 to 13.10) for the two components that XCR0 has here: x87 and SSE. Both lie in the legacy
/// region of FXSAVE in the standard and in the compacted format alike. Both always count as in use. Signal frames hold the same area.
/// </summary>
public static unsafe class ExtendedState
{
    private const uint X87Component = 1, SseComponent = 2;
    private const ulong Compacted = 1UL << 63;
    private const int HeaderOffset = FxsaveImage.Size, HeaderSize = 64;
    /// <summary>The parts of the legacy region: x87 before and behind MXCSR, MXCSR with its mask, the vector registers.</summary>
    private const int MxcsrOffset = 24, RegistersOffset = 32, VectorsOffset = 160;
    /// <summary>Bytes that pass through the vCPU's bounce buffer at once. In bounds: half of it; parts and sizes are constants, and what an area says of its own layout is only compared.</summary>
    private const int Piece = 64;

    /// <summary>Bytes of an area in the standard format.</summary>
    public const int Size = HeaderOffset + HeaderSize;

    /// <summary>The components that XCR0 enables.</summary>
    public const ulong Components = Cpuid.XCr0;

    /// <summary>XSAVE64 of all components into cleared memory.</summary>
    public static void Store(VcpuRegisters* r, Span<byte> area)
    {
        area[..Size].Clear();
        FxsaveImage.Store(r, area);
        MemoryMarshal.Write(area[HeaderOffset..], Components);
    }

    /// <summary>XRSTOR64 of the components in <paramref name="requested"/>. False, with nothing changed: #GP.</summary>
    public static bool Load(VcpuRegisters* r, ReadOnlySpan<byte> area, ulong requested)
    {
        fixed (byte* from = area[..Size])
            return TryLoad(r, from, (uint)(requested & Components), wide: true);
    }

    internal static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Code)
        {
            case Code.Xsave_mem or Code.Xsaveopt_mem: return Memory(ref b, &Save, compacted: false, wide: false);
            case Code.Xsave64_mem or Code.Xsaveopt64_mem: return Memory(ref b, &Save, compacted: false, wide: true);
            case Code.Xsavec_mem: return Memory(ref b, &Save, compacted: true, wide: false);
            case Code.Xsavec64_mem: return Memory(ref b, &Save, compacted: true, wide: true);
            case Code.Xrstor_mem: return Memory(ref b, &Restore, compacted: false, wide: false);
            case Code.Xrstor64_mem: return Memory(ref b, &Restore, compacted: false, wide: true);
            default: return null;
        }
    }

    private static Handler Memory(ref Binding b, Handler handler, bool compacted, bool wide)
    {
        b.Form(0);
        b.Op->Aux = (byte)((compacted ? 1 : 0) | (wide ? 2 : 0));
        return handler;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Save(VcpuState* c, Op* op)
    {
        ulong address = AnyAddress.Of(c, op);
        if ((address & 63) != 0)
            return Chain.Raise(c, op, Vector.GeneralProtection);
        return TrySave(c, address, (op->Aux & 1) != 0, (op->Aux & 2) != 0) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Restore(VcpuState* c, Op* op)
    {
        ulong address = AnyAddress.Of(c, op);
        if ((address & 63) != 0)
            return Chain.Raise(c, op, Vector.GeneralProtection);
        return TryRestore(c, address, (op->Aux & 2) != 0) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    private static uint Requested(VcpuState* c) => (uint)c->Registers.Gpr[VcpuRegisters.Rax] & Cpuid.XCr0;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TrySave(VcpuState* c, ulong address, bool compacted, bool wide)
    {
        uint requested = Requested(c);
        ulong header = address + HeaderOffset;
        // Both ends first, so that a fault leaves memory as it was.
        if (Mmu.ModifySlow(c, header + 8, 8) == null || Mmu.ModifySlow(c, address, 8) == null)
            return false;
        byte* image = stackalloc byte[FxsaveImage.Size];
        FxsaveImage.Store(&c->Registers, image, wide);
        if ((requested & X87Component) != 0 && !(Write(c, address, image, 0, MxcsrOffset) && Write(c, address, image, RegistersOffset, VectorsOffset)))
            return false;
        if ((requested & SseComponent) != 0 && !(Write(c, address, image, MxcsrOffset, RegistersOffset) && Write(c, address, image, VectorsOffset, FxsaveImage.Written)))
            return false;
        if (compacted)
            return Access.Write<ulong>(c, header, requested) && Access.Write(c, header + 8, requested | Compacted);
        ulong* present = Access.Read<ulong>(c, header);
        return present != null && Access.Write(c, header, (*present & ~(ulong)requested) | requested);
    }

    private static bool Write(VcpuState* c, ulong address, byte* image, int from, int to)
    {
        for (int at = from; at < to; at += Piece)
        {
            if (!Mmu.WriteSlow(c, address + (uint)at, image + at, Math.Min(Piece, to - at)))
                return false;
        }
        return true;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryRestore(VcpuState* c, ulong address, bool wide)
    {
        byte* area = stackalloc byte[Size];
        for (int at = 0; at < Size; at += Piece)
        {
            byte* piece = Mmu.ReadSlow(c, address + (uint)at, Piece);
            if (piece == null)
                return false;
            Unsafe.CopyBlockUnaligned(area + at, piece, Piece);
        }
        if (TryLoad(&c->Registers, area, Requested(c), wide))
            return true;
        c->Vector = Vector.GeneralProtection;
        c->ErrorCode = 0;
        return false;
    }

    private static bool IsValid(ulong* header, bool compacted)
    {
        ulong format = header[1] & ~Compacted;
        if ((header[0] & ~(ulong)Cpuid.XCr0) != 0 || (format & ~(ulong)Cpuid.XCr0) != 0 || header[2] != 0)
            return false;
        if (!compacted)
            return header[1] == 0;
        ulong rest = 0;
        for (int i = 2; i < HeaderSize / 8; i++)
            rest |= header[i];
        return rest == 0 && (header[0] & ~format) == 0;
    }

    /// <summary>Components that are requested come from the area if it holds them, else become as after reset; the others stay.</summary>
    private static bool TryLoad(VcpuRegisters* r, byte* area, uint requested, bool wide)
    {
        ulong* header = (ulong*)(area + HeaderOffset);
        bool compacted = (header[1] & Compacted) != 0;
        if (!IsValid(header, compacted))
            return false;
        ulong held = header[0];
        var reset = default(VcpuRegisters);
        FxsaveImage.Reset(&reset);
        byte* initial = stackalloc byte[FxsaveImage.Size], image = stackalloc byte[FxsaveImage.Size];
        FxsaveImage.Store(&reset, initial, wide: true);
        // What is not requested passes through the image unharmed only with full pointers.
        bool full = wide || (requested & X87Component) == 0;
        FxsaveImage.Store(r, image, full);
        if ((requested & X87Component) != 0)
        {
            byte* from = (held & X87Component) != 0 ? area : initial;
            Unsafe.CopyBlockUnaligned(image, from, MxcsrOffset);
            Unsafe.CopyBlockUnaligned(image + RegistersOffset, from + RegistersOffset, VectorsOffset - RegistersOffset);
        }
        if ((requested & SseComponent) != 0)
        {
            byte* from = (held & SseComponent) != 0 ? area : initial;
            Unsafe.CopyBlockUnaligned(image + VectorsOffset, from + VectorsOffset, FxsaveImage.Written - VectorsOffset);
            // The standard format holds MXCSR whether or not it holds the vector registers (SDM vol. 1, 13.8.1).
            *(uint*)(image + MxcsrOffset) = *(uint*)((compacted ? from : area) + MxcsrOffset);
        }
        return FxsaveImage.Load(r, image, full);
    }
}

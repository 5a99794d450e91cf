using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. XCHG with memory locks whether it says so or not (SDM vol. 2, XCHG).</summary>
internal static unsafe class Exchange
{
    private const byte Rax = VcpuRegisters.Rax * 8, Rdx = VcpuRegisters.Rdx * 8;

    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Xchg => Sized(ref b, &OnRegisters<byte>, &OnRegisters<ushort>, &OnRegisters<uint>, &OnRegisters<ulong>,
            &OnMemory<byte>, &OnMemory<ushort>, &OnMemory<uint>, &OnMemory<ulong>),
        Mnemonic.Xadd => Sized(ref b, &AddRegisters<byte>, &AddRegisters<ushort>, &AddRegisters<uint>, &AddRegisters<ulong>,
            &AddMemory<byte>, &AddMemory<ushort>, &AddMemory<uint>, &AddMemory<ulong>),
        Mnemonic.Cmpxchg => Sized(ref b, &CompareRegisters<byte>, &CompareRegisters<ushort>, &CompareRegisters<uint>, &CompareRegisters<ulong>,
            &CompareMemory<byte>, &CompareMemory<ushort>, &CompareMemory<uint>, &CompareMemory<ulong>),
        Mnemonic.Cmpxchg8b => Wide(ref b, &CompareMemory8),
        Mnemonic.Cmpxchg16b => Wide(ref b, &CompareMemory16),
        _ => null,
    };

    private static Handler Sized(ref Binding b, Handler r1, Handler r2, Handler r4, Handler r8, Handler m1, Handler m2, Handler m4, Handler m8)
    {
        int size = b.Size(1);
        // XCHG may be encoded with its operands in either order.
        int memory = b.Instruction.Op1Kind == OpKind.Memory ? 1 : 0;
        OperandForm form = b.Form(memory);
        b.Src(1 - memory);
        if (form == OperandForm.Register)
        {
            b.Dst(memory);
            return size switch { 1 => r1, 2 => r2, 4 => r4, _ => r8 };
        }
        return size switch { 1 => m1, 2 => m2, 4 => m4, _ => m8 };
    }

    private static Handler Wide(ref Binding b, Handler handler)
    {
        b.Form(0);
        return handler;
    }

    // In bounds: operands as in Alu; a pointer from Modify is good until interrupts are served, which Locked takes care of.
    [MethodImpl(Chain.Hot)]
    private static nint OnRegisters<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        T first = Reg.Read<T>(c, op->Dst), second = Reg.Read<T>(c, op->Src);
        Reg.Write(c, op->Src, first);
        Reg.Write(c, op->Dst, second);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint OnMemory<T>(VcpuState* c, Op* op) where T : unmanaged
        => TryOnMemory<T>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryOnMemory<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        T* target = Access.Modify<T>(c, AnyAddress.Of(c, op));
        if (target == null)
            return false;
        T old;
        LockedResult result;
        do
        {
            old = *target;
            result = Locked.CompareExchange(c, target, Reg.Read<T>(c, op->Src), old);
        }
        while (result == LockedResult.Differs);
        if (result == LockedResult.Fault)
            return false;
        Reg.Write(c, op->Src, old);
        return true;
    }

    [MethodImpl(Chain.Hot)]
    private static nint AddRegisters<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        T first = Reg.Read<T>(c, op->Dst), second = Reg.Read<T>(c, op->Src), sum = first + second;
        Flags.SetAdd(c, first, second, sum);
        Reg.Write(c, op->Src, first);
        Reg.Write(c, op->Dst, sum);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint AddMemory<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
        => TryAddMemory<T>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryAddMemory<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        T* target = Access.Modify<T>(c, AnyAddress.Of(c, op));
        if (target == null)
            return false;
        T old, added = Reg.Read<T>(c, op->Src);
        LockedResult result;
        do
        {
            old = *target;
            result = Locked.CompareExchange(c, target, old + added, old);
        }
        while (result == LockedResult.Differs);
        if (result == LockedResult.Fault)
            return false;
        Flags.SetAdd(c, old, added, old + added);
        Reg.Write(c, op->Src, old);
        return true;
    }

    [MethodImpl(Chain.Hot)]
    private static nint CompareRegisters<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        T old = Reg.Read<T>(c, op->Dst), expected = Reg.Read<T>(c, Rax);
        Flags.SetSub(c, expected, old, expected - old);
        if (old == expected)
        {
            Reg.Write(c, op->Dst, Reg.Read<T>(c, op->Src));
        }
        else
        {
            // The destination keeps its upper half on failure, as it is not written then.
            Reg.Write(c, Rax, old);
        }
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint CompareMemory<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
        => TryCompareMemory<T>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryCompareMemory<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        T* target = Access.Modify<T>(c, AnyAddress.Of(c, op));
        if (target == null)
            return false;
        T expected = Reg.Read<T>(c, Rax), old;
        LockedResult result;
        do
        {
            old = *target;
            result = Locked.CompareExchange(c, target, old == expected ? Reg.Read<T>(c, op->Src) : old, old);
        }
        while (result == LockedResult.Differs);
        if (result == LockedResult.Fault)
            return false;
        Flags.SetSub(c, expected, old, expected - old);
        if (old != expected)
            Reg.Write(c, Rax, old);
        return true;
    }

    [MethodImpl(Chain.Hot)]
    private static nint CompareMemory8(VcpuState* c, Op* op)
        => TryCompareMemory8(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryCompareMemory8(VcpuState* c, Op* op)
    {
        ulong* target = Access.Modify<ulong>(c, AnyAddress.Of(c, op));
        if (target == null)
            return false;
        ulong expected = Reg.Read<uint>(c, Rax) | (ulong)Reg.Read<uint>(c, Rdx) << 32;
        ulong replacement = Reg.Read<uint>(c, VcpuRegisters.Rbx * 8) | (ulong)Reg.Read<uint>(c, VcpuRegisters.Rcx * 8) << 32, old;
        LockedResult result;
        do
        {
            old = *target;
            result = Locked.CompareExchange(c, target, old == expected ? replacement : old, old);
        }
        while (result == LockedResult.Differs);
        if (result == LockedResult.Fault)
            return false;
        Flags.Merge(c, old == expected ? Flags.Zero : 0, Flags.Zero);
        if (old != expected)
        {
            Reg.Write(c, Rax, (uint)old);
            Reg.Write(c, Rdx, (uint)(old >> 32));
        }
        return true;
    }

    [MethodImpl(Chain.Hot)]
    private static nint CompareMemory16(VcpuState* c, Op* op)
    {
        if ((AnyAddress.Of(c, op) & 15) != 0)
            return Chain.Raise(c, op, Vector.GeneralProtection);
        return TryCompareMemory16(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryCompareMemory16(VcpuState* c, Op* op)
    {
        if (!WideExchange.TryExchange(c, AnyAddress.Of(c, op), out bool equal))
            return false;
        Flags.Merge(c, equal ? Flags.Zero : 0, Flags.Zero);
        return true;
    }
}

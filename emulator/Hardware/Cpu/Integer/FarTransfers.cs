using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>
/// RETF, IRET, far CALL and JMP, as user mode in 64-bit mode can use them: to 64-bit code of its own privilege (SDM vol. 2, the operations
/// of CALL, JMP, RET, IRET). 32-bit code, which they would enter compatibility mode for, is reported as unsupported.
/// </summary>
internal static unsafe class FarTransfers
{
    public static Handler Bind(ref Binding b)
    {
        Handler handler = b.Instruction.Code switch
        {
            Code.Retfw or Code.Retfw_imm16 => Return<ushort>(ref b),
            Code.Retfd or Code.Retfd_imm16 => Return<uint>(ref b),
            Code.Retfq or Code.Retfq_imm16 => Return<ulong>(ref b),
            Code.Iretw => Interrupt(ref b, &InterruptReturn<ushort>),
            Code.Iretd => Interrupt(ref b, &InterruptReturn<uint>),
            Code.Iretq => Interrupt(ref b, &InterruptReturn<ulong>),
            Code.Jmp_m1616 => Pointer(ref b, &Jump<ushort>),
            Code.Jmp_m1632 => Pointer(ref b, &Jump<uint>),
            Code.Jmp_m1664 => Pointer(ref b, &Jump<ulong>),
            Code.Call_m1616 => Call(ref b, &Call<ushort>),
            Code.Call_m1632 => Call(ref b, &Call<uint>),
            Code.Call_m1664 => Call(ref b, &Call<ulong>),
            _ => null,
        };
        b.EndsBlock |= handler != null;
        return handler;
    }

    private static Handler Return<T>(ref Binding b) where T : unmanaged, IBinaryInteger<T>
    {
        b.Accesses += 2;
        b.Op->Imm = b.Instruction.OpCount == 1 ? b.Instruction.Immediate16 : 0;
        return &Return<T>;
    }

    private static Handler Interrupt(ref Binding b, Handler handler)
    {
        b.Accesses += 5;
        return handler;
    }

    private static Handler Pointer(ref Binding b, Handler handler)
    {
        b.Form(0);
        b.Accesses++;
        return handler;
    }

    private static Handler Call(ref Binding b, Handler handler)
    {
        b.Accesses += 2;
        return Pointer(ref b, handler);
    }

    // In bounds: selectors are compared, not followed (DescriptorTable has no memory); all else goes through Access.
    [MethodImpl(Chain.Hot)]
    private static nint Return<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp];
        // Processors read the selector first, and no more of its slot than it has.
        ushort* segment = Access.Read<ushort>(c, stack + (ulong)sizeof(T));
        if (segment == null)
            return Chain.StackFault(c, op);
        ushort selector = *segment;
        T* offset = Access.Read<T>(c, stack);
        if (offset == null)
            return Chain.StackFault(c, op);
        ulong rip = ulong.CreateTruncating(*offset);
        if (selector != DescriptorTable.UserCode)
            return Refuse(c, op, selector, isReturn: true);
        if (!Branches.IsCanonical(rip))
            return Chain.Raise(c, op, Vector.GeneralProtection);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack + (ulong)(2 * sizeof(T)) + (ulong)op->Imm;
        return Chain.Jump(c, op, rip);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Jump<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        ulong address = AnyAddress.Of(c, op);
        T* offset = Access.Read<T>(c, address);
        if (offset == null)
            return Chain.Fault(c, op);
        ulong rip = ulong.CreateTruncating(*offset);
        ushort* segment = Access.Read<ushort>(c, address + (ulong)sizeof(T));
        if (segment == null)
            return Chain.Fault(c, op);
        ushort selector = *segment;
        if ((selector | 3) != DescriptorTable.UserCode)
            return Refuse(c, op, selector, isReturn: false);
        return Branches.IsCanonical(rip) ? Chain.Jump(c, op, rip) : Chain.Raise(c, op, Vector.GeneralProtection);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Call<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        ulong address = AnyAddress.Of(c, op);
        T* offset = Access.Read<T>(c, address);
        if (offset == null)
            return Chain.Fault(c, op);
        ulong rip = ulong.CreateTruncating(*offset);
        ushort* segment = Access.Read<ushort>(c, address + (ulong)sizeof(T));
        if (segment == null)
            return Chain.Fault(c, op);
        ushort selector = *segment;
        if ((selector | 3) != DescriptorTable.UserCode)
            return Refuse(c, op, selector, isReturn: false);
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp] - (ulong)sizeof(T);
        if (!Access.Write(c, stack, T.CreateTruncating(DescriptorTable.UserCode)))
            return Chain.StackFault(c, op);
        stack -= (ulong)sizeof(T);
        if (!Access.Write(c, stack, T.CreateTruncating(c->Registers.BlockRip + op->Offset + op->Length)))
            return Chain.StackFault(c, op);
        // As near CALL does: a bad target is found after the stores.
        if (!Branches.IsCanonical(rip))
            return Chain.Raise(c, op, Vector.GeneralProtection);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return Chain.Jump(c, op, rip);
    }

    [MethodImpl(Chain.Hot)]
    private static nint InterruptReturn<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        // "#GP(0) if EFLAGS.NT is set" in all of IA-32e mode: there are no task switches.
        if ((c->Registers.FlagsSystem & Flags.NestedTask) != 0)
            return Chain.Raise(c, op, Vector.GeneralProtection);
        ulong frame = c->Registers.Gpr[VcpuRegisters.Rsp];
        // The order in which processors read the frame.
        T* pointer = Access.Read<T>(c, frame + (ulong)(2 * sizeof(T)));
        if (pointer == null)
            return Chain.StackFault(c, op);
        ulong flags = ulong.CreateTruncating(*pointer);
        ushort* segment = Access.Read<ushort>(c, frame + (ulong)sizeof(T));
        if (segment == null)
            return Chain.StackFault(c, op);
        ushort code = *segment;
        pointer = Access.Read<T>(c, frame);
        if (pointer == null)
            return Chain.StackFault(c, op);
        ulong rip = ulong.CreateTruncating(*pointer);
        bool code32 = IsCode32(code, isReturn: true);
        if (code != DescriptorTable.UserCode && !code32)
            return Refuse(c, op, code, isReturn: true);
        pointer = Access.Read<T>(c, frame + (ulong)(3 * sizeof(T)));
        if (pointer == null)
            return Chain.StackFault(c, op);
        ulong stack = ulong.CreateTruncating(*pointer);
        segment = Access.Read<ushort>(c, frame + (ulong)(4 * sizeof(T)));
        if (segment == null)
            return Chain.StackFault(c, op);
        ushort data = *segment;
        if (data != DescriptorTable.UserData)
            return Chain.Raise(c, op, Vector.GeneralProtection, DescriptorTable.ErrorCode(data));
        if (code32)
            return Refuse(c, op, code, isReturn: true);
        if (!Branches.IsCanonical(rip))
            return Chain.Raise(c, op, Vector.GeneralProtection);
        ulong writable = Flags.WritableByUser(sizeof(T));
        c->Registers.Rflags = (c->Registers.Rflags & ~writable & ~Flags.Resume) | (flags & writable);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        // Out of the chain, because TF and AC change how the next instruction runs.
        return Chain.ExitTo(c, op, rip, HandlerExit.Lookup);
    }

    /// <summary>Whether the selector leads to compatibility mode: returns need one of privilege 3, calls and jumps take any.</summary>
    private static bool IsCode32(ushort selector, bool isReturn)
        => DescriptorTable.Find(selector, cpu: 0) is { IsCode: true, IsLong: false } && (!isReturn || (selector & 3) == 3);

    /// <summary>The end of a transfer to what is not 64-bit user code.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static nint Refuse(VcpuState* c, Op* op, ushort selector, bool isReturn)
        => IsCode32(selector, isReturn)
            ? InstructionBinder.RaiseUnsupported(c, op, Unsupported.CompatibilityMode)
            : Chain.Raise(c, op, Vector.GeneralProtection, DescriptorTable.ErrorCode(selector));
}

using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>Moves of selectors and segment bases, and what asks about a selector: LAR, LSL, VERR, VERW.</summary>
internal static unsafe class SegmentRegisters
{
    public static Handler Bind(ref Binding b)
    {
        ref readonly Instruction i = ref b.Instruction;
        switch (i.Mnemonic)
        {
            case Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase: return SegmentBase(ref b);
            case Mnemonic.Mov when IsSegment(i, 1): return Store(ref b);
            case Mnemonic.Mov when IsSegment(i, 0): return Load(ref b);
            case Mnemonic.Push when IsSegment(i, 0): return PushOrPop(ref b, i.Code is Code.Pushw_FS or Code.Pushw_GS ? &Push<ushort> : &Push<ulong>);
            case Mnemonic.Pop when IsSegment(i, 0): return PushOrPop(ref b, i.Code is Code.Popw_FS or Code.Popw_GS ? &Pop<ushort> : &Pop<ulong>);
            case Mnemonic.Lss: return LoadFar(ref b, Register.SS);
            case Mnemonic.Lfs: return LoadFar(ref b, Register.FS);
            case Mnemonic.Lgs: return LoadFar(ref b, Register.GS);
            case Mnemonic.Lar: return Ask<AccessRights>(ref b, 1);
            case Mnemonic.Lsl: return Ask<Limit>(ref b, 1);
            case Mnemonic.Verr: return Ask<Readable>(ref b, 0);
            case Mnemonic.Verw: return Ask<Writable>(ref b, 0);
            default: return null;
        }
    }

    private static bool IsSegment(in Instruction i, int operand) => i.GetOpKind(operand) == OpKind.Register && i.GetOpRegister(operand).IsSegmentRegister();

    private static byte SelectorOffset(Register register) => (byte)(RegisterOffset.Selectors + Number(register) * sizeof(ushort));

    // In bounds: the decoder knows six segment registers, of eight places; a selector is compared with those that exist.
    /// <summary>As instructions number them: ES, CS, SS, DS, FS, GS.</summary>
    private static byte Number(Register register) => (byte)(register - Register.ES);

    private static Handler SegmentBase(ref Binding b)
    {
        b.Dst(0);
        b.Op->Src = b.Instruction.Mnemonic is Mnemonic.Rdfsbase or Mnemonic.Wrfsbase ? RegisterOffset.FsBase : RegisterOffset.GsBase;
        bool read = b.Instruction.Mnemonic is Mnemonic.Rdfsbase or Mnemonic.Rdgsbase;
        return b.Size(0) == 8 ? read ? &ReadBase<ulong> : &WriteBase<ulong> : read ? &ReadBase<uint> : &WriteBase<uint>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint ReadBase<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        Reg.Write(c, op->Dst, Reg.Read<T>(c, op->Src));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint WriteBase<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        ulong value = ulong.CreateTruncating(Reg.Read<T>(c, op->Dst));
        if (!Branches.IsCanonical(value))
            return Chain.Raise(c, op, Vector.GeneralProtection);
        Reg.Write(c, op->Src, value);
        return op[1].Fn(c, op + 1);
    }

    private static Handler Store(ref Binding b)
    {
        OperandForm form = b.Form(0);
        b.Op->Src = SelectorOffset(b.Instruction.Op1Register);
        if (form != OperandForm.Register)
            return &StoreToMemory;
        b.Dst(0);
        return b.Size(0) switch { 2 => &StoreToRegister<ushort>, 4 => &StoreToRegister<uint>, _ => &StoreToRegister<ulong> };
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreToRegister<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        Reg.Write(c, op->Dst, T.CreateTruncating(Reg.Read<ushort>(c, op->Src)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreToMemory(VcpuState* c, Op* op)
        => Access.Write(c, AnyAddress.Of(c, op), Reg.Read<ushort>(c, op->Src)) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    private static Handler Load(ref Binding b)
    {
        if (b.Instruction.Op0Register == Register.CS)
        {
            b.EndsBlock = true;
            return &InstructionBinder.Undefined;
        }
        b.Op->Aux = Number(b.Instruction.Op0Register);
        return b.Source(1) == OperandForm.Register ? &Load<SourceRegister> : &Load<Memory<AnyAddress>>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Load<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(ushort));
        if (!TSource.IsThere(c, place, sizeof(ushort)))
            return TSource.Missed(c, op, sizeof(ushort));
        ushort* source = (ushort*)TSource.At(c, place);
        ushort selector = *source;
        return TryLoad(c, op->Aux, selector) ? op[1].Fn(c, op + 1) : Refuse(c, op, selector);
    }

    private static Handler PushOrPop(ref Binding b, Handler handler)
    {
        b.Accesses++;
        b.Op->Src = SelectorOffset(b.Instruction.Op0Register);
        b.Op->Aux = Number(b.Instruction.Op0Register);
        return handler;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Push<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp] - (ulong)sizeof(T);
        if (!Access.Write(c, stack, T.CreateTruncating(Reg.Read<ushort>(c, op->Src))))
            return Chain.StackFault(c, op);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Pop<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp];
        // Processors read no more of the slot than the selector.
        ushort* source = Access.Read<ushort>(c, stack);
        if (source == null)
            return Chain.StackFault(c, op);
        ushort selector = *source;
        if (!TryLoad(c, op->Aux, selector))
            return Refuse(c, op, selector);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack + (ulong)sizeof(T);
        return op[1].Fn(c, op + 1);
    }

    private static Handler LoadFar(ref Binding b, Register segment)
    {
        b.Form(1);
        b.Accesses++;
        b.Dst(0);
        b.Op->Aux = Number(segment);
        return b.Size(0) switch { 2 => &LoadFar<ushort>, 4 => &LoadFar<uint>, _ => &LoadFar<ulong> };
    }

    [MethodImpl(Chain.Hot)]
    private static nint LoadFar<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        ulong address = AnyAddress.Of(c, op);
        T* offset = Access.Read<T>(c, address);
        if (offset == null)
            return Chain.Fault(c, op);
        T value = *offset;
        ushort* source = Access.Read<ushort>(c, address + (ulong)sizeof(T));
        if (source == null)
            return Chain.Fault(c, op);
        ushort selector = *source;
        if (!TryLoad(c, op->Aux, selector))
            return Refuse(c, op, selector);
        Reg.Write(c, op->Dst, value);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>
    /// Loads a selector as user mode in 64-bit mode may: any readable segment, or none; SS must be writable and of privilege 3 (SDM vol. 2, MOV).
    /// FS and GS get the segment's base, which is 0 for all of the table and, on Intel's processors, for none.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryLoad(VcpuState* c, int segment, ushort selector)
    {
        SegmentDescriptor descriptor = Find(c, selector);
        bool allowed = segment == VcpuRegisters.Ss ? descriptor.IsWritable && (selector & 3) == 3 : descriptor.IsReadable || (selector & ~3) == 0;
        if (!allowed)
            return false;
        if (segment == VcpuRegisters.Fs)
            c->Registers.FsBase = 0;
        else if (segment == VcpuRegisters.Gs)
            c->Registers.GsBase = 0;
        c->Registers.Selectors[segment] = selector;
        return true;
    }

    private static nint Refuse(VcpuState* c, Op* op, ushort selector)
        => Chain.Raise(c, op, Vector.GeneralProtection, DescriptorTable.ErrorCode(selector));

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static SegmentDescriptor Find(VcpuState* c, ushort selector) => DescriptorTable.Find(selector, Smp.Vcpu.Of(c).Id);

    private static Handler Ask<TQuestion>(ref Binding b, int selector) where TQuestion : struct, IQuestion
    {
        bool register = b.Source(selector) == OperandForm.Register;
        if (selector == 0)
            return register ? &Ask<TQuestion, SourceRegister, ushort> : &Ask<TQuestion, Memory<AnyAddress>, ushort>;
        b.Dst(0);
        return b.Size(0) switch
        {
            2 => register ? &Ask<TQuestion, SourceRegister, ushort> : &Ask<TQuestion, Memory<AnyAddress>, ushort>,
            4 => register ? &Ask<TQuestion, SourceRegister, uint> : &Ask<TQuestion, Memory<AnyAddress>, uint>,
            _ => register ? &Ask<TQuestion, SourceRegister, ulong> : &Ask<TQuestion, Memory<AnyAddress>, ulong>,
        };
    }

    [MethodImpl(Chain.Hot)]
    private static nint Ask<TQuestion, TSource, T>(VcpuState* c, Op* op)
        where TQuestion : struct, IQuestion where TSource : struct, ISource where T : unmanaged, IBinaryInteger<T>
    {
        ulong place = TSource.Place(c, op, sizeof(ushort));
        if (!TSource.IsThere(c, place, sizeof(ushort)))
            return TSource.Missed(c, op, sizeof(ushort));
        ushort* source = (ushort*)TSource.At(c, place);
        SegmentDescriptor descriptor = Find(c, *source);
        bool yes = TQuestion.Holds(descriptor);
        if (yes && TQuestion.HasAnswer)
            Reg.Write(c, op->Dst, T.CreateTruncating(TQuestion.Answer(descriptor)));
        Flags.Merge(c, yes ? Flags.Zero : 0, Flags.Zero);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>What LAR and its like ask: ZF tells whether it holds; only then is there an answer.</summary>
    private interface IQuestion
    {
        static abstract bool Holds(SegmentDescriptor descriptor);
        static virtual bool HasAnswer => false;
        static virtual uint Answer(SegmentDescriptor descriptor) => 0;
    }

    private readonly struct AccessRights : IQuestion
    {
        public static bool Holds(SegmentDescriptor descriptor) => descriptor.Exists;
        public static bool HasAnswer => true;
        public static uint Answer(SegmentDescriptor descriptor) => descriptor.AccessRights;
    }

    private readonly struct Limit : IQuestion
    {
        public static bool Holds(SegmentDescriptor descriptor) => descriptor.Exists;
        public static bool HasAnswer => true;
        public static uint Answer(SegmentDescriptor descriptor) => descriptor.Limit;
    }

    private readonly struct Readable : IQuestion
    {
        public static bool Holds(SegmentDescriptor descriptor) => descriptor.IsReadable;
    }

    private readonly struct Writable : IQuestion
    {
        public static bool Holds(SegmentDescriptor descriptor) => descriptor.IsWritable;
    }
}

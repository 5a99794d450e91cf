using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>An operation of two operands that sets flags, on numbers that are <see cref="Wide"/>.</summary>
internal unsafe interface IAlu
{
    /// <summary>Whether the result is stored: false for CMP and TEST.</summary>
    static abstract bool Writes { get; }
    static abstract ulong Run(VcpuState* c, ulong a, ulong b, int size);
}

/// <summary>ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST in all their forms, INC, DEC, NEG, NOT, XADD.</summary>
internal static unsafe class Alu
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Add => Two<Add>(ref b),
        Mnemonic.Or => Two<Or>(ref b),
        Mnemonic.Adc => Two<Adc>(ref b),
        Mnemonic.Sbb => Two<Sbb>(ref b),
        Mnemonic.And => Two<And>(ref b),
        Mnemonic.Sub => Two<Sub>(ref b),
        Mnemonic.Xor => Two<Xor>(ref b),
        Mnemonic.Cmp => Two<Cmp>(ref b),
        Mnemonic.Test => Two<Test>(ref b),
        Mnemonic.Inc => One<Inc>(ref b),
        Mnemonic.Dec => One<Dec>(ref b),
        Mnemonic.Neg => One<Neg>(ref b),
        Mnemonic.Not => One<Not>(ref b),
        _ => null,
    };

    private static Handler Two<TAlu>(ref Binding b) where TAlu : struct, IAlu => b.Size(0) switch
    {
        1 => Two<TAlu, byte, Byte>(ref b),
        2 => Two<TAlu, ushort, Word>(ref b),
        4 => Two<TAlu, uint, Dword>(ref b),
        _ => Two<TAlu, ulong, Qword>(ref b),
    };

    private static Handler Two<TAlu, T, TWidth>(ref Binding b) where TAlu : struct, IAlu where T : unmanaged where TWidth : struct, IWidth
    {
        OperandForm destination = b.Form(0);
        if (destination == OperandForm.Register)
        {
            b.Dst(0);
            return b.Source(1) switch
            {
                OperandForm.Register => &Steps.One<ToRegister<TAlu, TWidth, SourceRegister>>,
                OperandForm.Immediate => &Steps.One<ToRegister<TAlu, TWidth, Immediate>>,
                OperandForm.Base => &Steps.One<ToRegister<TAlu, TWidth, Memory<BaseAddress>>>,
                OperandForm.Index => &Steps.One<ToRegister<TAlu, TWidth, Memory<IndexAddress>>>,
                _ => &Steps.One<ToRegister<TAlu, TWidth, Memory<AnyAddress>>>,
            };
        }
        return b.Source(1) == OperandForm.Register
            ? ToMemory<TAlu, T, SourceRegister>(ref b, destination)
            : ToMemory<TAlu, T, Immediate>(ref b, destination);
    }

    private static Handler One<TAlu>(ref Binding b) where TAlu : struct, IAlu => b.Size(0) switch
    {
        1 => One<TAlu, byte, Byte>(ref b),
        2 => One<TAlu, ushort, Word>(ref b),
        4 => One<TAlu, uint, Dword>(ref b),
        _ => One<TAlu, ulong, Qword>(ref b),
    };

    private static Handler One<TAlu, T, TWidth>(ref Binding b) where TAlu : struct, IAlu where T : unmanaged where TWidth : struct, IWidth
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
            return ToMemory<TAlu, T, Immediate>(ref b, destination);
        b.Dst(0);
        return &Steps.One<ToRegister<TAlu, TWidth, Immediate>>;
    }

    private static Handler ToMemory<TAlu, T, TSource>(ref Binding b, OperandForm destination)
        where TAlu : struct, IAlu where T : unmanaged where TSource : struct, ISource
    {
        if (!TAlu.Writes)
            return destination switch
            {
                OperandForm.Base => &ReadMemory<TAlu, T, TSource, BaseAddress>,
                OperandForm.Index => &ReadMemory<TAlu, T, TSource, IndexAddress>,
                _ => &ReadMemory<TAlu, T, TSource, AnyAddress>,
            };
        if (b.Instruction.HasLockPrefix)
            return &ModifyLocked<TAlu, T, TSource>;
        return destination switch
        {
            OperandForm.Base => &Modify<TAlu, T, TSource, BaseAddress>,
            OperandForm.Index => &Modify<TAlu, T, TSource, IndexAddress>,
            _ => &Modify<TAlu, T, TSource, AnyAddress>,
        };
    }

    // In bounds here and in the families like this one: operands come through ISource, Access and Reg alone, with sizes that are those of T; a value is never an index.
    /// <summary>The operation on a register.</summary>
    internal readonly struct ToRegister<TAlu, TWidth, TSource> : IStep where TAlu : struct, IAlu where TWidth : struct, IWidth where TSource : struct, ISource
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Run(VcpuState* c, Op* op)
        {
            ulong place = TSource.Place(c, op, TWidth.Size);
            if (!TSource.IsThere(c, place, TWidth.Size))
                return false;
            ulong second = Wide.Read(TSource.At(c, place), TWidth.Size);
            ulong result = TAlu.Run(c, Wide.Read((byte*)c + (nuint)op->Dst, TWidth.Size), second, TWidth.Size);
            if (TAlu.Writes)
                Reg.Write(c, op->Dst, result, TWidth.Size);
            return true;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Otherwise(VcpuState* c, Op* op) => TSource.Missed(c, op, TWidth.Size);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ReadMemory<TAlu, T, TSource, TAddress>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged where TSource : struct, ISource where TAddress : struct, IAddress
    {
        T* first = Access.Read<T>(c, TAddress.Of(c, op));
        if (first == null)
            return Chain.Fault(c, op);
        TAlu.Run(c, Wide.Of(*first), Wide.Of(*(T*)TSource.At(c, TSource.Place(c, op, sizeof(T)))), sizeof(T));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Modify<TAlu, T, TSource, TAddress>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged where TSource : struct, ISource where TAddress : struct, IAddress
    {
        ulong address = TAddress.Of(c, op);
        T* target = Access.Modify<T>(c, address);
        if (target == null)
            return Chain.Fault(c, op);
        *target = Wide.To<T>(TAlu.Run(c, Wide.Of(*target), Wide.Of(*(T*)TSource.At(c, TSource.Place(c, op, sizeof(T)))), sizeof(T)));
        Access.Commit(c, address, target);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ModifyLocked<TAlu, T, TSource>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged where TSource : struct, ISource
        => TryModifyLocked<TAlu, T, TSource>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryModifyLocked<TAlu, T, TSource>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged where TSource : struct, ISource
    {
        T* target = Access.Modify<T>(c, AnyAddress.Of(c, op));
        if (target == null)
            return false;
        // ADC and SBB read CF, which a failed attempt's Run has overwritten.
        long result = c->Registers.FlagResult;
        ulong carries = c->Registers.FlagCarries;
        while (true)
        {
            T old = *target;
            T now = Wide.To<T>(TAlu.Run(c, Wide.Of(old), Wide.Of(*(T*)TSource.At(c, TSource.Place(c, op, sizeof(T)))), sizeof(T)));
            LockedResult ended = Locked.CompareExchange(c, target, now, old);
            if (ended == LockedResult.Stored)
                return true;
            c->Registers.FlagResult = result;
            c->Registers.FlagCarries = carries;
            if (ended == LockedResult.Fault)
                return false;
        }
    }

    internal readonly struct Add : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a + b;
            Flags.SetAdd(c, a, b, r, size);
            return r;
        }
    }

    /// <summary>ADD whose flags the next instruction replaces.</summary>
    internal readonly struct AddAlone : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size) => a + b;
    }

    internal readonly struct Adc : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a + b + (c->Registers.FlagCarries >> 63);
            Flags.SetAdd(c, a, b, r, size);
            return r;
        }
    }

    internal readonly struct Sub : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a - b;
            Flags.SetSub(c, a, b, r, size);
            return r;
        }
    }

    internal readonly struct Sbb : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a - b - (c->Registers.FlagCarries >> 63);
            Flags.SetSub(c, a, b, r, size);
            return r;
        }
    }

    internal readonly struct Cmp : IAlu
    {
        public static bool Writes => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size) => Sub.Run(c, a, b, size);
    }

    internal readonly struct And : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a & b;
            Flags.SetLogic(c, r, size);
            return r;
        }
    }

    internal readonly struct Test : IAlu
    {
        public static bool Writes => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size) => And.Run(c, a, b, size);
    }

    internal readonly struct Or : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a | b;
            Flags.SetLogic(c, r, size);
            return r;
        }
    }

    internal readonly struct Xor : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong r = a ^ b;
            Flags.SetLogic(c, r, size);
            return r;
        }
    }

    internal readonly struct Inc : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong before = c->Registers.FlagCarries;
            ulong r = Add.Run(c, a, 1, size);
            Flags.KeepCarry(c, before);
            return r;
        }
    }

    internal readonly struct Dec : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size)
        {
            ulong before = c->Registers.FlagCarries;
            ulong r = Sub.Run(c, a, 1, size);
            Flags.KeepCarry(c, before);
            return r;
        }
    }

    internal readonly struct Neg : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size) => Sub.Run(c, 0, a, size);
    }

    internal readonly struct Not : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong a, ulong b, int size) => ~a;
    }
}

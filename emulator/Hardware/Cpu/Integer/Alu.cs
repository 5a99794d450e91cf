using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>An operation of two operands that sets flags; it is written once and the JIT makes its widths.</summary>
internal unsafe interface IAlu
{
    /// <summary>Whether the result is stored: false for CMP and TEST.</summary>
    static abstract bool Writes { get; }
    static abstract T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>;
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
        1 => Two<TAlu, byte>(ref b),
        2 => Two<TAlu, ushort>(ref b),
        4 => Two<TAlu, uint>(ref b),
        _ => Two<TAlu, ulong>(ref b),
    };

    private static Handler Two<TAlu, T>(ref Binding b) where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T>
    {
        OperandForm destination = b.Form(0);
        if (destination == OperandForm.Register)
        {
            b.Dst(0);
            return b.Source(1) switch
            {
                OperandForm.Register => &ToRegister<TAlu, T, SourceRegister>,
                OperandForm.Immediate => &ToRegister<TAlu, T, Immediate>,
                OperandForm.Base => &ToRegister<TAlu, T, Memory<BaseAddress>>,
                OperandForm.Index => &ToRegister<TAlu, T, Memory<IndexAddress>>,
                _ => &ToRegister<TAlu, T, Memory<AnyAddress>>,
            };
        }
        return b.Source(1) == OperandForm.Register
            ? ToMemory<TAlu, T, SourceRegister>(ref b, destination)
            : ToMemory<TAlu, T, Immediate>(ref b, destination);
    }

    private static Handler One<TAlu>(ref Binding b) where TAlu : struct, IAlu => b.Size(0) switch
    {
        1 => One<TAlu, byte>(ref b),
        2 => One<TAlu, ushort>(ref b),
        4 => One<TAlu, uint>(ref b),
        _ => One<TAlu, ulong>(ref b),
    };

    private static Handler One<TAlu, T>(ref Binding b) where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T>
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
            return ToMemory<TAlu, T, Immediate>(ref b, destination);
        b.Dst(0);
        return &ToRegister<TAlu, T, Immediate>;
    }

    private static Handler ToMemory<TAlu, T, TSource>(ref Binding b, OperandForm destination)
        where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
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
    [MethodImpl(Chain.Hot)]
    private static nint ToRegister<TAlu, T, TSource>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        T* source = (T*)TSource.Pointer(c, op, sizeof(T));
        if (TSource.Faults && source == null)
            return TSource.Missed(c, op, sizeof(T));
        T result = TAlu.Run(c, Reg.Read<T>(c, op->Dst), *source);
        if (TAlu.Writes)
            Reg.Write(c, op->Dst, result);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ReadMemory<TAlu, T, TSource, TAddress>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource where TAddress : struct, IAddress
    {
        T* first = Access.Read<T>(c, TAddress.Of(c, op));
        if (first == null)
            return Chain.Fault(c, op);
        TAlu.Run(c, *first, *(T*)TSource.Pointer(c, op, sizeof(T)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Modify<TAlu, T, TSource, TAddress>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource where TAddress : struct, IAddress
    {
        ulong address = TAddress.Of(c, op);
        T* target = Access.Modify<T>(c, address);
        if (target == null)
            return Chain.Fault(c, op);
        *target = TAlu.Run(c, *target, *(T*)TSource.Pointer(c, op, sizeof(T)));
        Access.Commit(c, address, target);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ModifyLocked<TAlu, T, TSource>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
        => TryModifyLocked<TAlu, T, TSource>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryModifyLocked<TAlu, T, TSource>(VcpuState* c, Op* op)
        where TAlu : struct, IAlu where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
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
            T now = TAlu.Run(c, old, *(T*)TSource.Pointer(c, op, sizeof(T)));
            LockedResult ended = Locked.CompareExchange(c, target, now, old);
            if (ended == LockedResult.Stored)
                return true;
            c->Registers.FlagResult = result;
            c->Registers.FlagCarries = carries;
            if (ended == LockedResult.Fault)
                return false;
        }
    }

    private readonly struct Add : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a + b;
            Flags.SetAdd(c, a, b, r);
            return r;
        }
    }

    private readonly struct Adc : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a + b + T.CreateTruncating(c->Registers.FlagCarries >> 63);
            Flags.SetAdd(c, a, b, r);
            return r;
        }
    }

    private readonly struct Sub : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a - b;
            Flags.SetSub(c, a, b, r);
            return r;
        }
    }

    private readonly struct Sbb : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a - b - T.CreateTruncating(c->Registers.FlagCarries >> 63);
            Flags.SetSub(c, a, b, r);
            return r;
        }
    }

    private readonly struct Cmp : IAlu
    {
        public static bool Writes => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T> => Sub.Run(c, a, b);
    }

    private readonly struct And : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a & b;
            Flags.SetLogic(c, r);
            return r;
        }
    }

    private readonly struct Test : IAlu
    {
        public static bool Writes => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T> => And.Run(c, a, b);
    }

    private readonly struct Or : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a | b;
            Flags.SetLogic(c, r);
            return r;
        }
    }

    private readonly struct Xor : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            T r = a ^ b;
            Flags.SetLogic(c, r);
            return r;
        }
    }

    private readonly struct Inc : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            ulong before = c->Registers.FlagCarries;
            T r = Add.Run(c, a, T.One);
            Flags.KeepCarry(c, before);
            return r;
        }
    }

    private readonly struct Dec : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T>
        {
            ulong before = c->Registers.FlagCarries;
            T r = Sub.Run(c, a, T.One);
            Flags.KeepCarry(c, before);
            return r;
        }
    }

    private readonly struct Neg : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T> => Sub.Run(c, T.Zero, a);
    }

    private readonly struct Not : IAlu
    {
        public static bool Writes => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Run<T>(VcpuState* c, T a, T b) where T : unmanaged, IBinaryInteger<T> => ~a;
    }
}

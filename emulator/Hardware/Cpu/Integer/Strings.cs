using System.Numerics;
using System.Runtime.CompilerServices;
using Emulator.Hardware.Memory;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>
/// MOVS, STOS, LODS, CMPS, SCAS with their repeat prefixes. A repeated move or fill goes in whole pages where it can; a repeated
/// instruction gives way to interrupts between steps with its registers advanced, as processors do.
/// </summary>
internal static unsafe class Strings
{
    private const byte Rax = VcpuRegisters.Rax * 8, Rcx = VcpuRegisters.Rcx * 8, Rsi = VcpuRegisters.Rsi * 8, Rdi = VcpuRegisters.Rdi * 8;
    /// <summary>Marks in <see cref="Op.Aux"/>.</summary>
    private const byte Rep = 1, WhileNotEqual = 2, Address32 = 4;
    /// <summary>Answer of <c>IStep.Many</c>: its store met decoded code, perhaps this very block, and the instruction must start anew (<see cref="VcpuState.Retry"/>).</summary>
    private const ulong Again = ulong.MaxValue;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Movsb: return Prepare<Move, byte>(ref b);
            case Mnemonic.Movsw: return Prepare<Move, ushort>(ref b);
            case Mnemonic.Movsd when b.Instruction.IsStringInstruction: return Prepare<Move, uint>(ref b);
            case Mnemonic.Movsq: return Prepare<Move, ulong>(ref b);
            case Mnemonic.Stosb: return Prepare<Store, byte>(ref b);
            case Mnemonic.Stosw: return Prepare<Store, ushort>(ref b);
            case Mnemonic.Stosd: return Prepare<Store, uint>(ref b);
            case Mnemonic.Stosq: return Prepare<Store, ulong>(ref b);
            case Mnemonic.Lodsb: return Prepare<Load, byte>(ref b);
            case Mnemonic.Lodsw: return Prepare<Load, ushort>(ref b);
            case Mnemonic.Lodsd: return Prepare<Load, uint>(ref b);
            case Mnemonic.Lodsq: return Prepare<Load, ulong>(ref b);
            case Mnemonic.Cmpsb: return Prepare<Compare, byte>(ref b);
            case Mnemonic.Cmpsw: return Prepare<Compare, ushort>(ref b);
            case Mnemonic.Cmpsd when b.Instruction.IsStringInstruction: return Prepare<Compare, uint>(ref b);
            case Mnemonic.Cmpsq: return Prepare<Compare, ulong>(ref b);
            case Mnemonic.Scasb: return Prepare<Scan, byte>(ref b);
            case Mnemonic.Scasw: return Prepare<Scan, ushort>(ref b);
            case Mnemonic.Scasd: return Prepare<Scan, uint>(ref b);
            case Mnemonic.Scasq: return Prepare<Scan, ulong>(ref b);
            default: return null;
        }
    }

    private static Handler Prepare<TStep, T>(ref Binding b) where TStep : struct, IStep where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < b.Instruction.OpCount; i++)
        {
            OpKind kind = b.Instruction.GetOpKind(i);
            if (kind is OpKind.MemoryESEDI or OpKind.MemorySegESI)
                b.Op->Aux |= Address32;
        }
        // The segment of the source may be overridden, that of the destination not.
        b.Op->Seg = b.Instruction.SegmentPrefix switch
        {
            Register.FS => RegisterOffset.FsBase,
            Register.GS => RegisterOffset.GsBase,
            _ => RegisterOffset.None,
        };
        if (b.Instruction.HasRepnePrefix)
            b.Op->Aux |= WhileNotEqual;
        if (!b.Instruction.HasRepPrefix && !b.Instruction.HasRepnePrefix)
        {
            b.Accesses += TStep.Accesses;
            return &Once<TStep, T>;
        }
        b.Op->Aux |= Rep;
        return &Repeat<TStep, T>;
    }

    /// <summary>One step of a string instruction.</summary>
    private interface IStep
    {
        static abstract int Accesses { get; }
        /// <summary>Whether ZF ends the repetition.</summary>
        static abstract bool Compares { get; }
        /// <summary>Does the step at the given addresses; false with the fault recorded.</summary>
        static abstract bool Run<T>(VcpuState* c, ulong source, ulong destination) where T : unmanaged, IBinaryInteger<T>;
        /// <summary>Writes memory and does not read flags.</summary>
        static abstract bool Fills { get; }
        static abstract bool Source { get; }
        static abstract bool Destination { get; }
        /// <summary>Does many steps within a page, if it can; the number done, or <see cref="Again"/>.</summary>
        static abstract ulong Many<T>(VcpuState* c, ulong source, ulong destination, ulong count, bool down) where T : unmanaged, IBinaryInteger<T>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Once<TStep, T>(VcpuState* c, Op* op) where TStep : struct, IStep where T : unmanaged, IBinaryInteger<T>
        => Step<TStep, T>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint Repeat<TStep, T>(VcpuState* c, Op* op) where TStep : struct, IStep where T : unmanaged, IBinaryInteger<T>
    {
        // Separate returns: a switch expression joins its arms before the return, and the calls in them are not in tail position.
        Outcome outcome = RepeatAll<TStep, T>(c, op);
        if (outcome == Outcome.Done)
            return op[1].Fn(c, op + 1);
        if (outcome == Outcome.Fault)
            return Chain.Fault(c, op);
        return Chain.Interrupted(c, op);
    }

    private enum Outcome
    {
        Done,
        Fault,
        Interrupted,
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Step<TStep, T>(VcpuState* c, Op* op) where TStep : struct, IStep where T : unmanaged, IBinaryInteger<T>
    {
        ulong mask = (op->Aux & Address32) != 0 ? uint.MaxValue : ulong.MaxValue;
        ulong source = c->Registers.Gpr[VcpuRegisters.Rsi] & mask, destination = c->Registers.Gpr[VcpuRegisters.Rdi] & mask;
        if (!TStep.Run<T>(c, source + Reg.Read<ulong>(c, op->Seg), destination))
            return false;
        Advance<TStep>(c, (c->Registers.FlagsSystem & Flags.Direction) != 0 ? (ulong)-sizeof(T) : (ulong)sizeof(T), mask);
        return true;
    }

    private static void Advance<TStep>(VcpuState* c, ulong distance, ulong mask) where TStep : struct, IStep
    {
        // With a 32-bit address size the upper halves become 0, as 32-bit register writes do.
        if (TStep.Source)
            c->Registers.Gpr[VcpuRegisters.Rsi] = (c->Registers.Gpr[VcpuRegisters.Rsi] + distance) & mask;
        if (TStep.Destination)
            c->Registers.Gpr[VcpuRegisters.Rdi] = (c->Registers.Gpr[VcpuRegisters.Rdi] + distance) & mask;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Outcome RepeatAll<TStep, T>(VcpuState* c, Op* op) where TStep : struct, IStep where T : unmanaged, IBinaryInteger<T>
    {
        ulong mask = (op->Aux & Address32) != 0 ? uint.MaxValue : ulong.MaxValue;
        bool down = (c->Registers.FlagsSystem & Flags.Direction) != 0;
        // TF traps after each step (SDM vol. 3, 18.3.1.4).
        bool traps = (c->Registers.FlagsSystem & Flags.Trap) != 0;
        ref ulong counter = ref c->Registers.Gpr[VcpuRegisters.Rcx];
        // With a 32-bit address size the upper halves go even when no step is done: of the counter always, of the addresses in moves and fills.
        counter &= mask;
        if (TStep.Fills)
            Advance<TStep>(c, 0, mask);
        long flagResult = c->Registers.FlagResult;
        ulong flagCarries = c->Registers.FlagCarries;
        while (counter != 0)
        {
            ulong done = 0;
            if (mask == ulong.MaxValue && !traps)
            {
                done = TStep.Many<T>(c, c->Registers.Gpr[VcpuRegisters.Rsi] + Reg.Read<ulong>(c, op->Seg), c->Registers.Gpr[VcpuRegisters.Rdi], counter, down);
                if (done == Again)
                    return Outcome.Fault;
                if (done != 0)
                    Advance<TStep>(c, down ? (ulong)-(long)(done * (ulong)sizeof(T)) : done * (ulong)sizeof(T), mask);
            }
            if (done == 0)
            {
                if (!Step<TStep, T>(c, op))
                {
                    // A fault shows the flags as they were before the first step (SDM vol. 2, REP).
                    c->Registers.FlagResult = flagResult;
                    c->Registers.FlagCarries = flagCarries;
                    return Outcome.Fault;
                }
                done = 1;
            }
            counter = (counter - done) & mask;
            c->Accesses += TStep.Accesses * (long)done;
            if (TStep.Compares && (c->Registers.FlagResult == 0) == ((op->Aux & WhileNotEqual) != 0))
                break;
            if ((c->Attention < 0 || traps) && counter != 0)
                return Outcome.Interrupted;
        }
        return Outcome.Done;
    }

    // In bounds: a step is one element through Access. The counter is only compared and counted down; no matter how large, interrupts are looked for after each step or page.
    /// <summary>Steps from an address up to the end of its page (or down to its start).</summary>
    private static ulong Room<T>(ulong address, bool down) where T : unmanaged
    {
        ulong offset = address & 0xFFF;
        if (!down)
            return (4096 - offset) / (ulong)sizeof(T);
        return offset + (ulong)sizeof(T) > 4096 ? 0 : offset / (ulong)sizeof(T) + 1;
    }

    /// <summary>What <c>Many</c> answers when its store is refused: a fault is left to the single step, which finds the source's first.</summary>
    private static ulong NotStored(VcpuState* c) => c->Vector == VcpuState.Retry ? Again : 0;

    private readonly struct Move : IStep
    {
        public static int Accesses => 2;
        public static bool Compares => false;
        public static bool Fills => true;
        public static bool Source => true;
        public static bool Destination => true;

        public static bool Run<T>(VcpuState* c, ulong source, ulong destination) where T : unmanaged, IBinaryInteger<T>
        {
            T* from = Access.Read<T>(c, source);
            return from != null && Access.Write(c, destination, *from);
        }

        public static ulong Many<T>(VcpuState* c, ulong source, ulong destination, ulong count, bool down) where T : unmanaged, IBinaryInteger<T>
        {
            if (down || count < 8)
                return 0;
            count = Math.Min(count, Math.Min(Room<T>(source, down), Room<T>(destination, down)));
            // In bounds: Room ends both ranges in their pages, and with two elements there the first crosses nothing, so no pointer is the bounce buffer.
            // An overlap in which the source would see what the move has written repeats a pattern: that goes step by step.
            if (count < 2 || destination - source < count * (ulong)sizeof(T))
                return 0;
            // The destination first: dropping decoded code there serves interrupts, among them flushes, after which an earlier translation of the source is none.
            T* to = Access.Modify<T>(c, destination);
            if (to == null)
                return NotStored(c);
            T* from = Access.Read<T>(c, source);
            // Two linear pages may be one frame.
            if (from == null || (ulong)((byte*)to - (byte*)from) < count * (ulong)sizeof(T))
                return 0;
            Buffer.MemoryCopy(from, to, count * (ulong)sizeof(T), count * (ulong)sizeof(T));
            return count;
        }
    }

    private readonly struct Store : IStep
    {
        public static int Accesses => 1;
        public static bool Compares => false;
        public static bool Fills => true;
        public static bool Source => false;
        public static bool Destination => true;

        public static bool Run<T>(VcpuState* c, ulong source, ulong destination) where T : unmanaged, IBinaryInteger<T>
            => Access.Write(c, destination, Reg.Read<T>(c, Rax));

        public static ulong Many<T>(VcpuState* c, ulong source, ulong destination, ulong count, bool down) where T : unmanaged, IBinaryInteger<T>
        {
            if (down || count < 8)
                return 0;
            count = Math.Min(count, Room<T>(destination, down));
            if (count < 2)
                return 0;
            T* to = Access.Modify<T>(c, destination);
            if (to == null)
                return NotStored(c);
            new Span<T>(to, (int)count).Fill(Reg.Read<T>(c, Rax));
            return count;
        }
    }

    private readonly struct Load : IStep
    {
        public static int Accesses => 1;
        public static bool Compares => false;
        public static bool Fills => false;
        public static bool Source => true;
        public static bool Destination => false;

        public static bool Run<T>(VcpuState* c, ulong source, ulong destination) where T : unmanaged, IBinaryInteger<T>
        {
            T* from = Access.Read<T>(c, source);
            if (from == null)
                return false;
            Reg.Write(c, Rax, *from);
            return true;
        }

        public static ulong Many<T>(VcpuState* c, ulong source, ulong destination, ulong count, bool down) where T : unmanaged, IBinaryInteger<T> => 0;
    }

    private readonly struct Compare : IStep
    {
        public static int Accesses => 2;
        public static bool Compares => true;
        public static bool Fills => false;
        public static bool Source => true;
        public static bool Destination => true;

        public static bool Run<T>(VcpuState* c, ulong source, ulong destination) where T : unmanaged, IBinaryInteger<T>
        {
            // The second operand first, as processors do: it shows when both fault.
            T* pointer = Access.Read<T>(c, destination);
            if (pointer == null)
                return false;
            // Before the other access: both may be page-crossing and then share the bounce buffer.
            T second = *pointer;
            pointer = Access.Read<T>(c, source);
            if (pointer == null)
                return false;
            T first = *pointer;
            Flags.SetSub(c, first, second, first - second);
            return true;
        }

        public static ulong Many<T>(VcpuState* c, ulong source, ulong destination, ulong count, bool down) where T : unmanaged, IBinaryInteger<T> => 0;
    }

    private readonly struct Scan : IStep
    {
        public static int Accesses => 1;
        public static bool Compares => true;
        public static bool Fills => false;
        public static bool Source => false;
        public static bool Destination => true;

        public static bool Run<T>(VcpuState* c, ulong source, ulong destination) where T : unmanaged, IBinaryInteger<T>
        {
            T* pointer = Access.Read<T>(c, destination);
            if (pointer == null)
                return false;
            T first = Reg.Read<T>(c, Rax), second = *pointer;
            Flags.SetSub(c, first, second, first - second);
            return true;
        }

        public static ulong Many<T>(VcpuState* c, ulong source, ulong destination, ulong count, bool down) where T : unmanaged, IBinaryInteger<T> => 0;
    }
}

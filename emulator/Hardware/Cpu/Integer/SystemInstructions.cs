using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>
/// SYSCALL, interrupts, CPUID, time stamps, flag moves, fences, hints, and what user mode may not execute.
/// </summary>
internal static unsafe class SystemInstructions
{
    private const byte Rax = VcpuRegisters.Rax * 8, Rcx = VcpuRegisters.Rcx * 8, Rdx = VcpuRegisters.Rdx * 8;

    public static Handler Bind(ref Binding b)
    {
        ref readonly Instruction i = ref b.Instruction;
        switch (i.Mnemonic)
        {
            case Mnemonic.Sysenter: b.EndsBlock = true; return &Call32;
            case Mnemonic.Syscall: b.EndsBlock = true; return &Syscall;
            case Mnemonic.Int3: b.EndsBlock = true; return &Breakpoint;
            case Mnemonic.Int1: b.EndsBlock = true; return &DebugTrap;
            case Mnemonic.Int: b.EndsBlock = true; b.Op->Imm = i.Immediate8; return &SoftwareInterrupt;
            case Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2 or Mnemonic.Monitor or Mnemonic.Mwait
                // Of system management mode and of supervisors.
                or Mnemonic.Rsm or Mnemonic.Clac or Mnemonic.Stac
                // Without shadow stacks, which CR4.CET switches on (SDM vol. 2, INCSSP and the others); RDSSP is a hint then.
                or Mnemonic.Incsspd or Mnemonic.Incsspq or Mnemonic.Rstorssp or Mnemonic.Saveprevssp or Mnemonic.Wrssd or Mnemonic.Wrssq
                or Mnemonic.Wrussd or Mnemonic.Wrussq or Mnemonic.Setssbsy or Mnemonic.Clrssbsy:
                b.EndsBlock = true;
                return &InstructionBinder.Undefined;
            case Mnemonic.Hlt or Mnemonic.Cli or Mnemonic.Sti or Mnemonic.In or Mnemonic.Out or Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd
                or Mnemonic.Outsb or Mnemonic.Outsw or Mnemonic.Outsd or Mnemonic.Rdmsr or Mnemonic.Wrmsr or Mnemonic.Rdpmc or Mnemonic.Lgdt or Mnemonic.Lidt
                or Mnemonic.Lldt or Mnemonic.Ltr or Mnemonic.Lmsw or Mnemonic.Clts or Mnemonic.Invlpg or Mnemonic.Invd or Mnemonic.Wbinvd or Mnemonic.Wbnoinvd
                or Mnemonic.Swapgs or Mnemonic.Sysret or Mnemonic.Sysretq or Mnemonic.Sysexit or Mnemonic.Sysexitq or Mnemonic.Xsetbv:
                b.EndsBlock = true;
                return &Privileged;
            case Mnemonic.Nop or Mnemonic.Fnop when i.Mnemonic == Mnemonic.Nop: return &Nothing;
            case Mnemonic.Pause or Mnemonic.Endbr64 or Mnemonic.Endbr32 or Mnemonic.Rdsspd or Mnemonic.Rdsspq or Mnemonic.Prefetchnta or Mnemonic.Prefetcht0
                or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Prefetchw or Mnemonic.Prefetch or Mnemonic.Prefetchwt1 or Mnemonic.Reservednop
                or Mnemonic.Cldemote or Mnemonic.Prefetchit0 or Mnemonic.Prefetchit1:
                return &Nothing;
            case Mnemonic.Clflush:
                b.Form(0);
                return &FlushLine;
            case Mnemonic.Mfence or Mnemonic.Lfence or Mnemonic.Sfence: return &Fence;
            case Mnemonic.Cpuid: return &CpuIdentification;
            case Mnemonic.Rdtsc: return &TimeStamp;
            case Mnemonic.Rdtscp: return &TimeStampAndProcessor;
            case Mnemonic.Xgetbv when b.Features.HasFlag(CpuFeatures.Xsave): return &ExtendedControl;
            case Mnemonic.Clc: return &ClearCarry;
            case Mnemonic.Stc: return &SetCarry;
            case Mnemonic.Cmc: return &ComplementCarry;
            case Mnemonic.Cld: return &ClearDirection;
            case Mnemonic.Std: return &SetDirection;
            case Mnemonic.Lahf: return &LoadFlags;
            case Mnemonic.Sahf: return &StoreFlags;
            case Mnemonic.Pushfq: b.Accesses++; return &PushFlags<ulong>;
            case Mnemonic.Pushf: b.Accesses++; return &PushFlags<ushort>;
            case Mnemonic.Popfq: b.Accesses++; b.EndsBlock = true; return &PopFlags<ulong>;
            case Mnemonic.Popf: b.Accesses++; b.EndsBlock = true; return &PopFlags<ushort>;
            case Mnemonic.Xlatb: return Translate(ref b);
            case Mnemonic.Enter: b.Accesses += 1 + (i.Immediate8_2nd & 31); return Enter(ref b);
            case Mnemonic.Mov when i.Op0Kind == OpKind.Register && i.Op1Kind == OpKind.Register && !(i.Op0Register.IsGPR() && i.Op1Register.IsGPR()):
                b.EndsBlock = true;
                return &Privileged;
            default: return null;
        }
    }

    // In bounds: registers are fixed, and memory is reached through Access.
    [MethodImpl(Chain.Hot)]
    private static nint Syscall(VcpuState* c, Op* op)
    {
        c->Registers.Gpr[VcpuRegisters.Rcx] = c->Registers.BlockRip + op->Offset + op->Length;
        c->Registers.Gpr[11] = c->Registers.Rflags;
        return Chain.Exit(c, op, HandlerExit.Syscall);
    }

    /// <summary>On Intel's processors a system call by the 32-bit convention (arch/x86/entry/entry_64_compat.S).</summary>
    [MethodImpl(Chain.Hot)]
    private static nint Call32(VcpuState* c, Op* op) => InstructionBinder.RaiseUnsupported(c, op, Unsupported.CompatibilityMode);

    [MethodImpl(Chain.Hot)]
    private static nint Breakpoint(VcpuState* c, Op* op) => Chain.Trap(c, op, Vector.Breakpoint);

    [MethodImpl(Chain.Hot)]
    private static nint DebugTrap(VcpuState* c, Op* op) => Chain.Trap(c, op, Vector.Debug);

    /// <summary>INT 3 and INT 4 have gates that user mode may use; INT 80h is a 32-bit system call; every other vector's gate refuses it (error
    /// code: SDM vol. 3, 6.13).</summary>
    [MethodImpl(Chain.Hot)]
    private static nint SoftwareInterrupt(VcpuState* c, Op* op) => op->Imm switch
    {
        3 => Chain.Trap(c, op, Vector.Breakpoint),
        4 => Chain.Trap(c, op, Vector.Overflow),
        0x80 => InstructionBinder.RaiseUnsupported(c, op, Unsupported.CompatibilityMode),
        _ => Chain.Raise(c, op, Vector.GeneralProtection, (uint)(op->Imm << 3 | 2)),
    };

    [MethodImpl(Chain.Hot)]
    private static nint Privileged(VcpuState* c, Op* op) => Chain.Raise(c, op, Vector.GeneralProtection);

    [MethodImpl(Chain.Hot)]
    private static nint Nothing(VcpuState* c, Op* op) => op[1].Fn(c, op + 1);

    [MethodImpl(Chain.Hot)]
    private static nint FlushLine(VcpuState* c, Op* op)
        => Access.Read<byte>(c, AnyAddress.Of(c, op)) != null ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint Fence(VcpuState* c, Op* op)
    {
        Interlocked.MemoryBarrier();
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint CpuIdentification(VcpuState* c, Op* op)
    {
        Cpuid.Execute(c);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint TimeStamp(VcpuState* c, Op* op)
    {
        ulong now = Smp.Vcpu.Of(c).Platform.ReadTimestamp();
        Reg.Write(c, Rax, (uint)now);
        Reg.Write(c, Rdx, (uint)(now >> 32));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint TimeStampAndProcessor(VcpuState* c, Op* op)
    {
        // IA32_TSC_AUX as Linux sets it: processor number, node 0.
        Reg.Write(c, Rcx, (uint)Smp.Vcpu.Of(c).Id);
        return TimeStamp(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ExtendedControl(VcpuState* c, Op* op)
    {
        if (Reg.Read<uint>(c, Rcx) != 0)
            return Chain.Raise(c, op, Vector.GeneralProtection);
        Reg.Write(c, Rax, Cpuid.XCr0);
        Reg.Write(c, Rdx, 0u);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ClearCarry(VcpuState* c, Op* op)
    {
        Flags.Merge(c, 0, Flags.Carry);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint SetCarry(VcpuState* c, Op* op)
    {
        Flags.Merge(c, Flags.Carry, Flags.Carry);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ComplementCarry(VcpuState* c, Op* op)
    {
        c->Registers.FlagCarries ^= Flags.CarryBit | Flags.IntoSignBit;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ClearDirection(VcpuState* c, Op* op)
    {
        c->Registers.FlagsSystem &= ~Flags.Direction;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint SetDirection(VcpuState* c, Op* op)
    {
        c->Registers.FlagsSystem |= Flags.Direction;
        return op[1].Fn(c, op + 1);
    }

    private const ulong LowFlags = Flags.Sign | Flags.Zero | Flags.Adjust | Flags.Parity | Flags.Carry;

    [MethodImpl(Chain.Hot)]
    private static nint LoadFlags(VcpuState* c, Op* op)
    {
        Reg.Write(c, Rax + 1, (byte)(Flags.Get(c) & LowFlags | 2));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreFlags(VcpuState* c, Op* op)
    {
        Flags.Merge(c, Reg.Read<byte>(c, Rax + 1), LowFlags);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint PushFlags<T>(VcpuState* c, Op* op) where T : unmanaged, System.Numerics.IBinaryInteger<T>
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp] - (ulong)sizeof(T);
        // VM and RF are pushed as 0 (SDM vol. 2, PUSHF).
        if (!Access.Write(c, stack, T.CreateTruncating(c->Registers.Rflags & ~Flags.Resume)))
            return Chain.StackFault(c, op);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint PopFlags<T>(VcpuState* c, Op* op) where T : unmanaged, System.Numerics.IBinaryInteger<T>
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp];
        T* source = Access.Read<T>(c, stack);
        if (source == null)
            return Chain.StackFault(c, op);
        ulong writable = Flags.WritableByUser(sizeof(T));
        c->Registers.Rflags = (c->Registers.Rflags & ~writable & ~Flags.Resume) | (ulong.CreateTruncating(*source) & writable);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack + (ulong)sizeof(T);
        // Out of the chain, because TF changes how the next instruction runs.
        return Chain.Exit(c, op, HandlerExit.Lookup);
    }

    private static Handler Translate(ref Binding b)
    {
        b.Accesses++;
        b.Op->Seg = b.Instruction.MemorySegment switch { Register.FS => RegisterOffset.FsBase, Register.GS => RegisterOffset.GsBase, _ => RegisterOffset.None };
        b.Op->Aux = b.Instruction.MemoryBase == Register.EBX ? (byte)1 : (byte)0;
        return &Translate;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Translate(VcpuState* c, Op* op)
    {
        ulong address = c->Registers.Gpr[VcpuRegisters.Rbx] + Reg.Read<byte>(c, Rax);
        if (op->Aux != 0)
            address = (uint)address;
        byte* source = Access.Read<byte>(c, address + Reg.Read<ulong>(c, op->Seg));
        if (source == null)
            return Chain.Fault(c, op);
        Reg.Write(c, Rax, *source);
        return op[1].Fn(c, op + 1);
    }

    // In bounds: 31 levels at most, one access each.
    private static Handler Enter(ref Binding b)
    {
        b.Op->Imm = b.Instruction.Immediate16;
        b.Op->Aux = (byte)(b.Instruction.Immediate8_2nd & 31);
        return b.Instruction.Code == Code.Enterq_imm16_imm8 ? &Enter<ulong> : &Enter<ushort>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Enter<T>(VcpuState* c, Op* op) where T : unmanaged, System.Numerics.IBinaryInteger<T>
        => MakeFrame<T>(c, op) ? op[1].Fn(c, op + 1) : Chain.StackFault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool MakeFrame<T>(VcpuState* c, Op* op) where T : unmanaged, System.Numerics.IBinaryInteger<T>
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp], frame = c->Registers.Gpr[VcpuRegisters.Rbp];
        stack -= (ulong)sizeof(T);
        if (!Access.Write(c, stack, T.CreateTruncating(frame)))
            return false;
        ulong top = stack;
        for (int level = 1; level < op->Aux; level++)
        {
            frame -= (ulong)sizeof(T);
            T* outer = Access.Read<T>(c, frame);
            if (outer == null)
                return false;
            stack -= (ulong)sizeof(T);
            if (!Access.Write(c, stack, *outer))
                return false;
        }
        if (op->Aux > 0)
        {
            stack -= (ulong)sizeof(T);
            if (!Access.Write(c, stack, T.CreateTruncating(top)))
                return false;
        }
        stack -= (ulong)op->Imm;
        // The new top must be writable, though nothing is written (SDM vol. 2, ENTER).
        if (Access.Modify<T>(c, stack) == null)
            return false;
        Reg.Write(c, VcpuRegisters.Rbp * 8, T.CreateTruncating(top));
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return true;
    }
}

using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>
/// SGDT, SIDT, SLDT, STR, SMSW. Processors with CR4.UMIP set refuse them in user mode, and Linux answers in their place
/// (arch/x86/kernel/umip.c); the answers are its, as is that a 32-bit register keeps its upper half.
/// </summary>
internal static unsafe class SystemRegisters
{
    private const ulong GlobalTable = 0xFFFF_FFFF_FFFE_0000, InterruptTable = 0xFFFF_FFFF_FFFF_0000;
    /// <summary>CR0 as Linux sets it (CR0_STATE), the selector of its task-state segment, and that of no local table.</summary>
    private const long MachineStatus = 0x8005_0033, Task = 0x40, LocalTable = 0;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Sgdt: return StoreTable(ref b, GlobalTable);
            case Mnemonic.Sidt: return StoreTable(ref b, InterruptTable);
            case Mnemonic.Sldt: return Store(ref b, LocalTable);
            case Mnemonic.Str: return Store(ref b, Task);
            case Mnemonic.Smsw: return Store(ref b, MachineStatus);
            default: return null;
        }
    }

    private static Handler StoreTable(ref Binding b, ulong address)
    {
        b.Form(0);
        b.Accesses++;
        b.Op->Imm = (long)address;
        return &StoreTable;
    }

    private static Handler Store(ref Binding b, long value)
    {
        bool register = b.Form(0) == OperandForm.Register;
        b.Op->Imm = value;
        if (!register)
            return &StoreToMemory;
        b.Dst(0);
        return b.Size(0) switch { 2 => &StoreToRegister<ushort>, 4 => &StoreToRegister<uint>, _ => &StoreToRegister<ulong> };
    }

    // In bounds: what is stored is constant; operands as in Alu.
    [MethodImpl(Chain.Hot)]
    private static nint StoreTable(VcpuState* c, Op* op)
    {
        ulong address = AnyAddress.Of(c, op);
        return Access.Write(c, address, (ushort)0) && Access.Write(c, address + sizeof(ushort), (ulong)op->Imm)
            ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreToMemory(VcpuState* c, Op* op)
        => Access.Write(c, AnyAddress.Of(c, op), (ushort)op->Imm) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint StoreToRegister<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        *(T*)((byte*)c + op->Dst) = T.CreateTruncating(op->Imm);
        return op[1].Fn(c, op + 1);
    }
}

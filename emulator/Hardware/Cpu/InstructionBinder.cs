using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>Turns a decoded instruction into an operation by asking each family in turn.</summary>
internal static unsafe class InstructionBinder
{
    /// <summary>Binds the instruction; false when it is not implemented (the operation then raises #UD).</summary>
    public static bool Bind(ref Binding b)
    {
        b.Op->Length = (byte)b.Instruction.Length;
        b.Op->Base = b.Op->Index = b.Op->Seg = RegisterOffset.None;
        bool valid = b.Instruction.Code != Code.INVALID;
        bool enabled = valid && (InstructionFeatures.Needed(b.Instruction) & ~b.Features) == 0;
        Handler handler = enabled ? Find(ref b) : valid ? &SwitchedOff : &Undefined;
        bool implemented = handler != null;
        if (!implemented)
            handler = &NotImplemented;
        if (!enabled || !implemented)
            b.EndsBlock = true;
        b.Op->Fn = EntryPoint.Resolve(handler);
        return implemented;
    }

    private static Handler Find(ref Binding b)
    {
        Handler handler = Integer.Alu.Bind(ref b);
        if (handler == null) handler = Integer.Moves.Bind(ref b);
        if (handler == null) handler = Integer.Branches.Bind(ref b);
        if (handler == null) handler = Integer.FarTransfers.Bind(ref b);
        if (handler == null) handler = Integer.Shifts.Bind(ref b);
        if (handler == null) handler = Integer.MulDiv.Bind(ref b);
        if (handler == null) handler = Integer.Bits.Bind(ref b);
        if (handler == null) handler = Integer.Exchange.Bind(ref b);
        if (handler == null) handler = Integer.Strings.Bind(ref b);
        if (handler == null) handler = Integer.Bmi.Bind(ref b);
        if (handler == null) handler = Integer.SegmentRegisters.Bind(ref b);
        if (handler == null) handler = Integer.SystemRegisters.Bind(ref b);
        if (handler == null) handler = Integer.SystemInstructions.Bind(ref b);
        if (handler == null) handler = ExtendedState.Bind(ref b);
        if (handler == null) handler = Simd.SimdBinder.Bind(ref b);
        if (handler == null) handler = X87.X87Binder.Bind(ref b);
        return handler;
    }

    [MethodImpl(Chain.Hot)]
    internal static nint Undefined(VcpuState* c, Op* op) => Chain.Raise(c, op, Vector.InvalidOpcode);

    [MethodImpl(Chain.Hot)]
    private static nint NotImplemented(VcpuState* c, Op* op) => RaiseUnsupported(c, op, Unsupported.NotImplemented);

    [MethodImpl(Chain.Hot)]
    private static nint SwitchedOff(VcpuState* c, Op* op) => RaiseUnsupported(c, op, Unsupported.SwitchedOff);

    /// <summary>#UD that an ordinary processor would not have raised.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static nint RaiseUnsupported(VcpuState* c, Op* op, Unsupported why)
    {
        nint exit = Chain.Raise(c, op, Vector.InvalidOpcode);
        c->Unsupported = why;
        return exit;
    }
}

/// <summary>
/// The address that a call of a handler ends at. A C# function pointer is that of a small stub which jumps on to the compiled code; entering the code
/// itself saves a jump for every instruction (some 40 % on integer code). Only a stub of known form whose target is already compiled is looked through.
/// </summary>
internal static unsafe class EntryPoint
{
    public static Handler Resolve(Handler handler)
    {
        // In bounds: the handler is ours, and so is what its stub says; a guest only chooses which.
        // FF 25 rel32: jmp [rip + rel32]. Before compilation the slot points into the stub itself, right behind the jump.
        byte* stub = (byte*)handler;
        if (System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64
            || stub[0] != 0xFF || stub[1] != 0x25)
            return handler;
        byte* next = stub + 6;
        byte* target = *(byte**)(next + *(int*)(stub + 2));
        return target == next || CountsCalls(target) ? handler : (Handler)target;
    }

    /// <summary>A stub of the runtime's tiered compilation, which is freed when it has counted enough: mov rax, [rip + rel32]; dec word ptr [rax].</summary>
    private static bool CountsCalls(byte* code) => code[0] == 0x48 && code[1] == 0x8B && code[2] == 0x05 && code[7] == 0x66 && code[8] == 0xFF && code[9] == 0x08;
}

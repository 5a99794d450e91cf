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
        bool defined = b.Instruction.Code != Code.INVALID && Enabled(b.Instruction, b.Features);
        Handler handler = defined ? Find(ref b) : &Undefined;
        bool implemented = handler != null;
        if (!implemented)
            handler = &NotImplemented;
        if (!defined || !implemented)
            b.EndsBlock = true;
        b.Op->Fn = EntryPoint.Resolve(handler);
        return implemented;
    }

    private static Handler Find(ref Binding b)
    {
        Handler handler = Integer.Alu.Bind(ref b);
        if (handler == null) handler = Integer.Moves.Bind(ref b);
        if (handler == null) handler = Integer.Branches.Bind(ref b);
        if (handler == null) handler = Integer.Shifts.Bind(ref b);
        if (handler == null) handler = Integer.MulDiv.Bind(ref b);
        if (handler == null) handler = Integer.Bits.Bind(ref b);
        if (handler == null) handler = Integer.Exchange.Bind(ref b);
        if (handler == null) handler = Integer.Strings.Bind(ref b);
        if (handler == null) handler = Integer.Bmi.Bind(ref b);
        if (handler == null) handler = Integer.SystemInstructions.Bind(ref b);
        if (handler == null) handler = ExtendedState.Bind(ref b);
        if (handler == null) handler = Simd.SimdBinder.Bind(ref b);
        if (handler == null) handler = X87.X87Binder.Bind(ref b);
        return handler;
    }

    /// <summary>Whether the machine's feature level has the instruction (<c>--cpu</c>).</summary>
    private static bool Enabled(in Instruction instruction, CpuFeatures features)
    {
        // Without their feature these two ignore the F3 prefix and are BSF and BSR, on which compilers rely (SDM vol. 2, TZCNT, LZCNT).
        if (instruction.Mnemonic is Mnemonic.Tzcnt or Mnemonic.Lzcnt)
            return true;
        foreach (CpuidFeature needed in instruction.CpuidFeatures)
        {
            CpuFeatures bit = needed switch
            {
                CpuidFeature.SSE3 => CpuFeatures.Sse3,
                CpuidFeature.SSSE3 => CpuFeatures.Ssse3,
                CpuidFeature.SSE4_1 => CpuFeatures.Sse41,
                CpuidFeature.SSE4_2 => CpuFeatures.Sse42,
                CpuidFeature.POPCNT => CpuFeatures.Popcnt,
                CpuidFeature.CMPXCHG16B => CpuFeatures.Cx16,
                CpuidFeature.MOVBE => CpuFeatures.Movbe,
                CpuidFeature.BMI1 => CpuFeatures.Bmi1,
                CpuidFeature.BMI2 => CpuFeatures.Bmi2,
                CpuidFeature.LZCNT => CpuFeatures.Lzcnt,
                CpuidFeature.ADX => CpuFeatures.Adx,
                CpuidFeature.RDTSCP => CpuFeatures.Rdtscp,
                CpuidFeature.XSAVE or CpuidFeature.XSAVEC or CpuidFeature.XSAVEOPT => CpuFeatures.Xsave,
                CpuidFeature.FSGSBASE => CpuFeatures.Fsgsbase,
                _ => CpuFeatures.None,
            };
            if ((features & bit) != bit)
                return false;
        }
        return true;
    }

    [MethodImpl(Chain.Hot)]
    internal static nint Undefined(VcpuState* c, Op* op) => Chain.Raise(c, op, Vector.InvalidOpcode);

    [MethodImpl(Chain.Hot)]
    private static nint NotImplemented(VcpuState* c, Op* op)
    {
        nint exit = Chain.Raise(c, op, Vector.InvalidOpcode);
        c->Unsupported = 1;
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
        // FF 25 rel32: jmp [rip + rel32]. Before compilation the slot points into the stub itself, right behind the jump.
        byte* stub = (byte*)handler;
        if (System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64
            || stub[0] != 0xFF || stub[1] != 0x25)
            return handler;
        byte* next = stub + 6;
        byte* target = *(byte**)(next + *(int*)(stub + 2));
        return target == next ? handler : (Handler)target;
    }
}

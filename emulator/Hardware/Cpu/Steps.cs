using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu;

/// <summary>The short way of an instruction, to be put together to handlers.</summary>
internal unsafe interface IStep
{
    /// <summary>Executes the instruction if the short way is enough; false with nothing changed when it is not.</summary>
    static abstract bool Run(VcpuState* c, Op* op);

    /// <summary>Executes it the long way and goes on with the next operation.</summary>
    static abstract nint Otherwise(VcpuState* c, Op* op);
}

/// <summary>Handlers made of steps.</summary>
/// <remarks>In bounds: of two instructions the second has an operation of its own, and another one behind it, because what ends a block is in no pair.</remarks>
internal static unsafe class Steps
{
    [MethodImpl(Chain.Hot)]
    public static nint One<TStep>(VcpuState* c, Op* op) where TStep : struct, IStep
        => TStep.Run(c, op) ? op[1].Fn(c, op + 1) : TStep.Otherwise(c, op);

    /// <summary>
    /// Two instructions by one handler, which saves the jump between them. The second operation stays as it is: whatever the second step cannot do it does itself, so a fault
    /// names it, and a run that ends between both goes on with it.
    /// </summary>
    [MethodImpl(Chain.Hot)]
    public static nint Two<TFirst, TSecond>(VcpuState* c, Op* op) where TFirst : struct, IStep where TSecond : struct, IStep
    {
        if (!TFirst.Run(c, op))
            return TFirst.Otherwise(c, op);
        return TSecond.Run(c, op + 1) ? op[2].Fn(c, op + 2) : TSecond.Otherwise(c, op + 1);
    }

    /// <summary>An instruction and the conditional jump behind it.</summary>
    [MethodImpl(Chain.Hot)]
    public static nint Jump<TStep, TCondition>(VcpuState* c, Op* op) where TStep : struct, IStep where TCondition : struct, Integer.ICondition
    {
        if (!TStep.Run(c, op))
            return TStep.Otherwise(c, op);
        return TCondition.Holds(c) ? Chain.Branch(c, op + 1) : op[2].Fn(c, op + 2);
    }
}

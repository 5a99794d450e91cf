using System.Numerics;
using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>The eight conditions; the other eight are their negations (SDM vol. 1, appendix B).</summary>
internal static unsafe class Conditions
{
    // In bounds: nothing here but two fields of the state.
    internal readonly struct Not<TCondition> : ICondition where TCondition : struct, ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => !TCondition.Holds(c);
    }

    internal readonly struct O : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => (long)(c->Registers.FlagCarries ^ (c->Registers.FlagCarries << 1)) < 0;
    }

    internal readonly struct B : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => (long)c->Registers.FlagCarries < 0;
    }

    internal readonly struct E : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => c->Registers.FlagResult == 0;
    }

    internal readonly struct Be : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => (long)c->Registers.FlagCarries < 0 | c->Registers.FlagResult == 0;
    }

    internal readonly struct S : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => (c->Registers.FlagResult ^ (long)(c->Registers.FlagCarries << 62)) < 0;
    }

    internal readonly struct P : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c)
            => (((ulong)BitOperations.PopCount((uint)(byte)c->Registers.FlagResult) ^ c->Registers.FlagCarries) & 1) == 0;
    }

    internal readonly struct L : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c)
        {
            ulong carries = c->Registers.FlagCarries;
            return (c->Registers.FlagResult ^ (long)(carries ^ (carries << 1) ^ (carries << 62))) < 0;
        }
    }

    internal readonly struct Le : ICondition
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Holds(VcpuState* c) => L.Holds(c) | c->Registers.FlagResult == 0;
    }
}

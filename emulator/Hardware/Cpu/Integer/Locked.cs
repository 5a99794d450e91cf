using System.Runtime.CompilerServices;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>How an attempt at a locked operation ended.</summary>
internal enum LockedResult
{
    Stored,
    /// <summary>The memory held something else: look again.</summary>
    Differs,
    /// <summary>The operand can no longer be written, or is to be looked at anew; the state says which.</summary>
    Fault,
}

/// <summary>Compare-and-exchange of any width on guest memory, atomic between vCPUs on different host threads.</summary>
internal static unsafe class Locked
{
    /// <summary>The unit that a host's locked instruction owns. One that crosses two takes the bus, and hosts that detect split locks let it wait, or never end.</summary>
    private const int CacheLine = 64;

    /// <summary>
    /// Stores <paramref name="now"/> if the memory still holds <paramref name="old"/>; no <see cref="Access.Commit{T}"/> follows. The host's own
    /// instruction does it, except for an operand that crosses a cache line or a page: for these the other vCPUs are stopped.
    /// Out of line: inlined, its casts would put locals into memory, and a handler with such locals makes no tail call.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static LockedResult CompareExchange<T>(VcpuState* c, T* target, T now, T old) where T : unmanaged
    {
        if ((byte*)target == c->Bounce)
            return CrossingExchange(c, target, now, old);
        if (((nuint)target & (CacheLine - 1)) + (nuint)sizeof(T) > CacheLine)
            return SplitExchange(c, target, now, old);
        bool stored = sizeof(T) switch
        {
            1 => Interlocked.CompareExchange(ref *(byte*)target, Unsafe.BitCast<T, byte>(now), Unsafe.BitCast<T, byte>(old)) == Unsafe.BitCast<T, byte>(old),
            2 => Interlocked.CompareExchange(ref *(ushort*)target, Unsafe.BitCast<T, ushort>(now), Unsafe.BitCast<T, ushort>(old)) == Unsafe.BitCast<T, ushort>(old),
            4 => Interlocked.CompareExchange(ref *(uint*)target, Unsafe.BitCast<T, uint>(now), Unsafe.BitCast<T, uint>(old)) == Unsafe.BitCast<T, uint>(old),
            _ => Interlocked.CompareExchange(ref *(ulong*)target, Unsafe.BitCast<T, ulong>(now), Unsafe.BitCast<T, ulong>(old)) == Unsafe.BitCast<T, ulong>(old),
        };
        return stored ? LockedResult.Stored : LockedResult.Differs;
    }

    // In bounds: an operand in the bounce buffer is split where the last Modify, which was this one's, put its parts: below its size. What was translated is used only if no interrupt was served
    // since, as that may have been a flush.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static LockedResult CrossingExchange<T>(VcpuState* c, T* bounce, T now, T old) where T : unmanaged
    {
        var exchange = new StoppedExchange(c, (byte*)bounce, (byte*)&now, (byte*)&old, sizeof(T));
        if (exchange.Run(Smp.Vcpu.Of(c), c->Tlb.BounceServed))
            return exchange.Equal ? LockedResult.Stored : LockedResult.Differs;
        return Mmu.ModifySlow(c, c->Tlb.BounceAddress, sizeof(T)) != null ? LockedResult.Differs : LockedResult.Fault;
    }

    /// <summary>Whatever comes between makes the instruction start anew: its operand is then translated again.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static LockedResult SplitExchange<T>(VcpuState* c, T* target, T now, T old) where T : unmanaged
    {
        var exchange = new StoppedSplitExchange((byte*)target, (byte*)&now, (byte*)&old, sizeof(T));
        if (exchange.Run(Smp.Vcpu.Of(c), c->Tlb.Served) && exchange.Equal)
            return LockedResult.Stored;
        c->Vector = VcpuState.Retry;
        return LockedResult.Fault;
    }

    private sealed class StoppedSplitExchange(byte* target, byte* now, byte* old, int size) : Smp.StoppedOthers
    {
        public bool Equal { get; private set; }

        protected override void Act()
        {
            var present = new Span<byte>(target, size);
            Equal = present.SequenceEqual(new Span<byte>(old, size));
            if (Equal)
                new Span<byte>(now, size).CopyTo(present);
        }
    }

    private sealed class StoppedExchange(VcpuState* c, byte* bounce, byte* now, byte* old, int size) : Smp.StoppedOthers
    {
        public bool Equal { get; private set; }

        protected override void Act()
        {
            int first = c->Tlb.BounceSplit;
            var present = new Span<byte>(bounce, size);
            new Span<byte>(c->Tlb.BounceFirst, first).CopyTo(present);
            new Span<byte>(c->Tlb.BounceSecond, size - first).CopyTo(present[first..]);
            Equal = present.SequenceEqual(new Span<byte>(old, size));
            if (!Equal)
                return;
            new Span<byte>(now, first).CopyTo(new Span<byte>(c->Tlb.BounceFirst, first));
            new Span<byte>(now + first, size - first).CopyTo(new Span<byte>(c->Tlb.BounceSecond, size - first));
        }
    }
}

using System.Runtime.CompilerServices;
using Emulator.Hardware.Smp;

namespace Emulator.Hardware.Memory;

/// <summary>What is known of the decoded code of a frame.</summary>
internal enum CodeState : byte
{
    /// <summary>There is none; stores need no care.</summary>
    None,
    /// <summary>Blocks may be decoded from it; no vCPU can write to it without coming here.</summary>
    Marked,
    /// <summary>On the way from one to the other: wait.</summary>
    Changing,
}

/// <summary>Keeps blocks decoded from frames, and drops them on demand.</summary>
public interface IDecodedCode
{
    /// <summary>
    /// Forgets the frame's blocks as far as <paramref name="vcpu"/> can reach them or has put them into a shared cache. Runs once on
    /// every vCPU before a store to the frame is let through, as part of an interrupt: see <see cref="IpiRequest.Serve"/>.
    /// </summary>
    void InvalidateFrame(Vcpu vcpu, Pfn frame);
}

/// <summary>
/// Keeps decoded code true to memory. A frame is marked before its first byte is decoded, which takes write permission from every
/// front; a store to a marked frame comes to the slow path, drops the frame's code on every vCPU, and only then writes.
/// </summary>
/// <remarks>
/// A front gets write permission without a lock, so marking and granting order each other by full fences:
/// <code>
///   Expose (a fill that grants, a kernel write)   Mark
///   Exposed[frame] = 1                            Code[frame] = Changing
///   fence                                         fence
///   grant only if Code[frame] is None             if Exposed[frame]: revoke in all vCPUs, acknowledged
/// </code>
/// Required: never both a grant that stays and a marking that did not revoke. A grant made just before the revocation arrives is taken
/// back by it, because a vCPU serves interrupts only between instructions (or while it waits here, holding no pointer).
/// </remarks>
public sealed unsafe class CodeFrames
{
    // In bounds: one byte for each frame, and frames come from translations, which PageWalker found inside memory, or from the block cache, which has them from there.
    private readonly Platform _platform;
    private int _lock;

    internal CodeFrames(Platform platform)
    {
        _platform = platform;
        platform.Memory.CodeFrames = this;
    }

    /// <summary>Set once, before the first vCPU runs.</summary>
    public IDecodedCode? Decoder { get; set; }

    /// <summary>
    /// Called by the vCPU's holder before it reads bytes of the frame in order to decode them. May serve interrupts, among them
    /// invalidations: hold no block and no lock. From the return on until the vCPU next serves interrupts, the bytes cannot change
    /// without the vCPU's own <see cref="IDecodedCode.InvalidateFrame"/> being called before its next instruction.
    /// </summary>
    public void Mark(Vcpu vcpu, Pfn frame)
    {
        ref byte code = ref _platform.Memory.Code[frame.Value];
        if (Volatile.Read(ref code) == (byte)CodeState.Marked)
            return;
        Lock(vcpu);
        try
        {
            if (code == (byte)CodeState.Marked)
                return;
            Volatile.Write(ref code, (byte)CodeState.Changing);
            Interlocked.MemoryBarrier(); // partner: Expose and PhysicalMemory.BeforeWrite
            vcpu.State->Tlb.Counters[Counter.CodeFramesMarked]++;
            if (Volatile.Read(ref _platform.Memory.Exposed[frame.Value]) != 0)
            {
                // Before the interrupts: an exposure from now on is either revoked by them or refused because of Code.
                Volatile.Write(ref _platform.Memory.Exposed[frame.Value], 0);
                vcpu.State->Tlb.Counters[Counter.CodeRevocations]++;
                _platform.InterProcessor.Call(vcpu, _platform.AllVcpus, new RevokeRequest(frame));
            }
            Volatile.Write(ref code, (byte)CodeState.Marked);
        }
        finally
        {
            Unlock();
        }
    }

    /// <summary>Whether the frame holds no decoded code; if so, whoever asks may write to it until its vCPU next serves interrupts.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool Expose(TlbState* t, Pfn frame)
    {
        if (Volatile.Read(ref t->Exposed[frame.Value]) == 0)
        {
            Volatile.Write(ref t->Exposed[frame.Value], 1);
            Interlocked.MemoryBarrier(); // partner: Mark, between its store to Code and its load of Exposed
        }
        return Volatile.Read(ref t->Code[frame.Value]) == (byte)CodeState.None;
    }

    /// <summary>
    /// Drops the code of one or two frames in all vCPUs, acknowledged. The caller may then write to them, without asking again, until
    /// its vCPU next serves interrupts: who marks one of them from now on has to revoke that first.
    /// </summary>
    /// <param name="vcpu">The vCPU that the caller holds, if it knows.</param>
    internal void Invalidate(Vcpu? vcpu, Pfn first, Pfn second)
    {
        vcpu ??= _platform.InterProcessor.HeldByThisThread();
        Lock(vcpu);
        try
        {
            Drop(vcpu, first);
            if (second != first)
                Drop(vcpu, second);
            Volatile.Write(ref _platform.Memory.Exposed[first.Value], 1);
            Volatile.Write(ref _platform.Memory.Exposed[second.Value], 1);
        }
        finally
        {
            Unlock();
        }
    }

    private void Drop(Vcpu? vcpu, Pfn frame)
    {
        ref byte code = ref _platform.Memory.Code[frame.Value];
        if (code == (byte)CodeState.None)
            return;
        // Not None yet: stores wait for the acknowledgements. Not Marked any more: nobody starts to decode without the lock, and
        // who has started puts the blocks where his own InvalidateFrame finds them, before he serves the interrupt.
        Volatile.Write(ref code, (byte)CodeState.Changing);
        if (vcpu is not null)
            vcpu.State->Tlb.Counters[Counter.CodeInvalidations]++;
        if (Decoder is { } decoder)
            _platform.InterProcessor.Call(vcpu, _platform.AllVcpus, new InvalidateRequest(decoder, frame));
        Volatile.Write(ref code, (byte)CodeState.None);
    }

    private void Lock(Vcpu? vcpu)
    {
        var spin = default(SpinWait);
        while (Interlocked.CompareExchange(ref _lock, 1, 0) != 0)
        {
            vcpu?.ServeRequests(); // the lock's owner may be waiting for this vCPU
            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    private void Unlock() => Volatile.Write(ref _lock, 0);

    private sealed class RevokeRequest(Pfn frame) : IpiRequest
    {
        public override void Serve(Vcpu target) => Tlb.RevokeWrite(target.State, frame);
    }

    private sealed class InvalidateRequest(IDecodedCode decoder, Pfn frame) : IpiRequest
    {
        public override void Serve(Vcpu target) => decoder.InvalidateFrame(target, frame);
    }
}

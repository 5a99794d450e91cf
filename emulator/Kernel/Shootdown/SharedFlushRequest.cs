using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>
/// A flush of shared tables on its way: no single address space is meant, but whichever of the sharers a target has loaded, at the sharer's
/// own addresses (the "new flush type" that Dave Hansen's message of 2 October 2024 finds necessary).
/// </summary>
internal abstract class SharedFlushRequest : FlushRequest
{
    protected SharedFlushRequest(in SharedFlush flush, ulong generation = 0)
        : base(flush.Shootdown)
    {
        Host = flush.Host.Context;
        Set(null, flush.Start, flush.End, flush.StrideShift, generation, flush.Self?.Id ?? -1);
        if (flush.IsWide)
            Widen();
    }

    public MmContext Host { get; }

    public sealed override void Serve(Vcpu target)
    {
        Shootdown.Checker?.OnFlushServed(target);
        CpuTlbState cpu = Shootdown.StateOf(target.Id);
        bool remote = target.Id != Initiator && !IsBroadcast;
        if (remote)
            cpu[ShootdownCounter.IpisReceived]++;
        Serve(target, cpu, remote);
    }

    protected abstract void Serve(Vcpu target, CpuTlbState cpu, bool remote);

    /// <summary>The sharer that a target has loaded; false, counted as vain: none that sees the range, or a lazy vCPU has just left it.</summary>
    protected bool TryFindLoaded(Vcpu target, CpuTlbState cpu, bool remote, out Mm sharer, out SharedLinks links)
    {
        bool found = TryFindLoaded(target, cpu, out sharer, out links, out ShootdownCounter why);
        if (!found)
            TlbShootdown.CountVain(cpu, why, remote);
        return found;
    }

    protected bool TryFindLoaded(Vcpu target, CpuTlbState cpu, out Mm sharer, out SharedLinks links, out ShootdownCounter why)
    {
        sharer = cpu.LoadedMm!;
        links = sharer?.Context.Links!;
        why = ShootdownCounter.NothingNotLoaded;
        if (links is null || !links.Cover(Host, NamedStart, NamedEnd))
            return false;
        if (!cpu.IsLazy)
            return true;
        why = ShootdownCounter.NothingLazy;
        Shootdown.SwitchToKernel(target);
        return false;
    }

    /// <summary>Flushes what the request names in the loaded sharer, page by page unless it was widened.</summary>
    protected void FlushLoaded(Vcpu target, CpuTlbState cpu, Mm sharer, SharedLinks links, bool remote)
    {
        if (End == TlbShootdown.FlushAll)
            FlushLoadedFully(target, cpu, sharer, links, remote);
        else
            TlbShootdown.FlushLinkedPages(target, cpu, links, this, remote);
    }

    protected void FlushLoadedFully(Vcpu target, CpuTlbState cpu, Mm sharer, SharedLinks links, bool remote) =>
        TlbShootdown.FlushLinkedFully(target, cpu, sharer, links, this, remote);
}

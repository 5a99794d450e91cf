namespace Emulator.Kernel.Shootdown.Policies;

/// <summary><see cref="HostCpumaskPolicy"/>'s mask with flush_tlb_func as it is: the interrupts arrive, and find that the host is not loaded.</summary>
internal sealed class HostCpumaskUntaughtPolicy : HostCpumaskPolicy
{
    public override string Name => "host-cpumask-untaught";

    public override bool IsSound => false;

    public override string Summary => "broken: the host's mask is kept, but flush_tlb_func does not know what it means";

    public override string Source => "Dave Hansen, 2 October 2024, same thread: the first half of what he asks for";

    public override string Price => "an interrupt for each vCPU that ran a sharer, in vain";

    public override string Limits => "flushes nothing";

    internal override void Flush(in SharedFlush flush)
    {
        // Lazy vCPUs and others that do not have the host loaded, which is all, would be left out by should_flush_tlb already.
        var request = new FlushRequest(flush.Shootdown);
        request.Set(flush.Host, flush.Start, flush.End, flush.StrideShift, flush.Host.Context.RaiseGeneration(), flush.Self?.Id ?? -1);
        if (flush.IsWide)
            request.Widen();
        flush.Call(flush.Host.Context.Cpus.Snapshot(), request);
    }
}

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>flush_tlb_mm_range of the host as it stands, which is what the posted patches do: no vCPU is in its mask, so none flushes.</summary>
internal sealed class HostMmOnlyPolicy : SharedFlushPolicy
{
    public override string Name => "host-mm-only";

    public override bool IsSound => false;

    public override string Summary => "broken: the ordinary flush of the host, which no vCPU has loaded";

    public override string Source => "Anthony Yznaga, 3 September 2024, [RFC PATCH v3 00/10]: what the posted code does, and says that it does not suffice";

    public override string Price => "nothing but the host's generation, at which nobody looks";

    public override string Limits => "reaches no vCPU, not even the caller's";

    internal override void Flush(in SharedFlush flush) =>
        flush.Shootdown.FlushCpus(flush.Self, flush.Host, flush.Start, flush.End, flush.StrideShift, flush.FreedTables);
}

using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary><see cref="ExactSharersPolicy"/> without a generation: vCPUs that run a sharer flush, and nobody else ever hears of the change.</summary>
internal sealed class LoadedOnlyPolicy : SharedFlushPolicy
{
    public override string Name => "loaded-only";

    public override bool IsSound => false;

    public override string Summary => "broken: interrupt the vCPUs that run a sharer, and raise no generation";

    public override string Source => "Dave Hansen, 2 October 2024, same thread: \"I don't think PCIDs actually complicate the problem\", since an address space that is not loaded is flushed when it is";

    public override string Price => "one look at each vCPU and one interrupt for each that runs a sharer";

    public override string Limits => "a sharer that was switched away from keeps its PCID slot and comes back to old translations; so does a lazy vCPU; true only of address spaces whose generation was raised";

    internal override void Flush(in SharedFlush flush) => flush.Call(flush.Shootdown.RunningSharers(flush), new Request(flush));

    private sealed class Request(in SharedFlush flush) : SharedFlushRequest(flush)
    {
        protected override void Serve(Vcpu target, CpuTlbState cpu, bool remote)
        {
            if (TryFindLoaded(target, cpu, remote, out Mm sharer, out SharedLinks links))
                FlushLoaded(target, cpu, sharer, links, remote);
        }
    }
}

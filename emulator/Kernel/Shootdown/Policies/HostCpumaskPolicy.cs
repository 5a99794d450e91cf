using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>mm_cpumask of the host is kept true, and flush_tlb_func is taught that a request for the host means the sharers.</summary>
/// <remarks>
/// <para>True means: the vCPUs that may hold translations of the region, in the slot of a sharer that is loaded or of one that was. A vCPU enters when it
/// loads a sharer, stays when it switches away, and leaves in an interrupt that finds no sharer loaded. So no generation of any sharer is
/// raised: each vCPU that may hold anything is told of each change.</para>
/// <para>A target flushes what the request names in the sharer that it runs, without looking at generations, and gives up its slots of other sharers:
/// a slot that belongs to nobody is flushed before it is used again.</para>
/// <code>
///   who changes the tables           a vCPU that loads a sharer         an address space that begins to share
///   clear the entry                  enter the sharer's mask            publish MmContext.Links
///   read the host's mask             read Links; enter the host's       read the sharer's mask; add it to the host's
/// </code>
/// Middle and right: one of them sees the other, so a vCPU that runs an address space while it begins to share enters as well. Left: a vCPU that it
/// misses has entered after the entry was cleared, and everything that it caches of the region comes later still. A vCPU that
/// leaves looks once more, afterwards, whether what it has loaded began to share meanwhile; then it enters again and flushes all.
/// </remarks>
internal class HostCpumaskPolicy : SharedFlushPolicy
{
    public override string Name => "host-cpumask";

    public override string Summary => "flush_tlb_mm_range of the host, with its mask kept and flush_tlb_func taught";

    public override string Source => "Dave Hansen, 2 October 2024, same thread: \"make flush_tlb_mm_range(host_mm) work somehow\"";

    public override string Price => "one interrupt for each vCPU that runs a sharer or ran one since the last change; an atomic operation on a shared line at each switch to a sharer";

    public override string Limits => "arch_tlbbatch_flush must not be used with it: its requests name no address space, and no sharer's generation was raised; kept slots of sharers are lost whole";

    internal override void Flush(in SharedFlush flush) => flush.Call(flush.Host.Context.Cpus.Snapshot(), new Request(flush));

    internal sealed override void Attached(MmContext host, MmContext sharer)
    {
        VcpuMask cpus = sharer.Cpus.Snapshot();
        for (int id = cpus.Next(0); id >= 0; id = cpus.Next(id + 1))
            host.Cpus.AddAtomic(id);
    }

    internal sealed override void Entered(Vcpu vcpu, SharedLinks links)
    {
        foreach (MmContext host in links.Hosts)
            host.Cpus.AddAtomic(vcpu.Id);
    }

    private sealed class Request(in SharedFlush flush) : SharedFlushRequest(flush)
    {
        protected override void Serve(Vcpu target, CpuTlbState cpu, bool remote)
        {
            // First: a lazy vCPU leaves its sharer, whose slot is then one of those that are kept.
            bool found = TryFindLoaded(target, cpu, out Mm sharer, out SharedLinks links, out ShootdownCounter why);
            int forgotten = ForgetKeptSlots(cpu);
            if (found)
            {
                FlushLoaded(target, cpu, sharer, links, remote);
                return;
            }
            if (forgotten == 0)
                TlbShootdown.CountVain(cpu, why, remote);
            Leave(target, cpu, remote);
        }

        private int ForgetKeptSlots(CpuTlbState cpu)
        {
            int forgotten = 0;
            for (int i = 0; i < CpuTlbState.SlotCount; i++)
            {
                if ((i == cpu.LoadedSlot && cpu.LoadedMm is not null) || cpu.Slots[i].Context?.Links is not { } kept || !kept.Has(Host))
                    continue;
                cpu.Slots[i] = default;
                forgotten++;
            }
            cpu[ShootdownCounter.SlotsForgotten] += (ulong)forgotten;
            return forgotten;
        }

        private void Leave(Vcpu target, CpuTlbState cpu, bool remote)
        {
            if (cpu.LoadedMm?.Context.Links is { } own && own.Has(Host))
                return;
            Host.Cpus.RemoveAtomic(target.Id);
            cpu[ShootdownCounter.MaskTrimmed]++;
            if (cpu.LoadedMm is not { } sharer || sharer.Context.Links is not { } links || !links.Has(Host))
                return;
            Host.Cpus.AddAtomic(target.Id);
            FlushLoadedFully(target, cpu, sharer, links, remote);
        }
    }
}

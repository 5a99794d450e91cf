using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Changes the memory of programs while they run, as compaction, reclaim and processors' speculation do on a busy machine: nothing that a
/// program may notice. Its clock is instructions executed, and a seed decides what comes when, so a deterministic machine repeats itself.
/// The work is done on the threads of the tasks that execute, on their way back to user mode, with no lock held.
/// </summary>
internal sealed class Disturber
{
    private const int Tries = 64;

    private readonly Machine _machine;
    private readonly DisturbanceRates _rates;
    private readonly RandomSource _random;
    private readonly FillRequest _fill = new();
    private readonly long[] _done = new long[4];
    private long _executed;
    private long _due;
    private int _busy;

    public Disturber(Machine machine, DisturbanceRates rates, ulong seed)
    {
        _machine = machine;
        _rates = rates;
        _random = new RandomSource(seed ^ 0xD157_0B5E_D157_0B5E);
        _due = Interval();
    }

    /// <summary>Events that changed something.</summary>
    public long Migrated => Volatile.Read(ref _done[0]);
    public long Reclaimed => Volatile.Read(ref _done[1]);
    public long Split => Volatile.Read(ref _done[2]);
    public long Filled => Volatile.Read(ref _done[3]);

    /// <summary>Instructions that a vCPU may execute before it must look here again.</summary>
    public long Quantum => Math.Max(1, Volatile.Read(ref _due) - Volatile.Read(ref _executed));

    public void Executed(long instructions) => Interlocked.Add(ref _executed, instructions);

    /// <summary>Does what is due; the caller is on its way to user mode.</summary>
    public void Run(Task task)
    {
        if (Volatile.Read(ref _executed) < Volatile.Read(ref _due) || task.MustExit || Interlocked.Exchange(ref _busy, 1) != 0)
            return;
        try
        {
            // After a long stretch without a stop only some of what was missed is made up for.
            for (int i = 0; i < Tries && Volatile.Read(ref _executed) >= _due; i++)
            {
                Volatile.Write(ref _due, _due + Interval());
                Once(task);
            }
            Volatile.Write(ref _due, Math.Max(_due, Volatile.Read(ref _executed)));
        }
        finally
        {
            Volatile.Write(ref _busy, 0);
        }
    }

    /// <summary>Instructions to the next event: on average what the rates say.</summary>
    private long Interval() => 1 + _random.Next((int)(2_000_000L / _rates.Total) + 1);

    private void Once(Task task)
    {
        int choice = _random.Next(_rates.Total);
        if ((choice -= _rates.Migrate) < 0)
            Migrate(task);
        else if ((choice -= _rates.Reclaim) < 0)
            Reclaim(task);
        else if ((choice -= _rates.Split) < 0)
            SplitOne(task);
        else
            Fill(task);
    }

    private void Migrate(Task task)
    {
        if (!TryPick(ShrinkList.Unreclaimable, out Pfn frame))
            return;
        Span<int> result = stackalloc int[1];
        if (_machine.MemorySystem.Migration.MigratePages(task, [frame], result, MigrateReason.Disturbance) == 0)
            Interlocked.Increment(ref _done[0]);
    }

    private void Reclaim(Task task)
    {
        if (TryPick(ShrinkList.Unreclaimable, out Pfn frame))
            Interlocked.Add(ref _done[1], _machine.MemorySystem.Reclaim.Reclaim(task, [frame]));
    }

    private void SplitOne(Task task)
    {
        PageAllocator pages = _machine.Pages;
        for (int i = 0; i < Tries; i++)
        {
            Pfn head = pages.HeadOf(pages.UsedFrame(_random.NextUInt64() >> 1));
            if ((pages[head].Flags & (PageFlags.Head | PageFlags.HugeTlb | PageFlags.Anon)) != (PageFlags.Head | PageFlags.Anon))
                continue;
            if (_machine.MemorySystem.HugePages.SplitPage(task, head) == 0)
                Interlocked.Increment(ref _done[2]);
            return;
        }
    }

    /// <summary>A page of a program or a file, with a reference for the caller.</summary>
    private bool TryPick(PageFlags not, out Pfn frame)
    {
        PageAllocator pages = _machine.Pages;
        for (int i = 0; i < Tries; i++)
        {
            frame = pages.UsedFrame(_random.NextUInt64() >> 1);
            PageFlags flags = pages[frame].Flags;
            if ((flags & ShrinkList.Reclaimable) != 0 && (flags & not) == 0 && pages.TryGet(frame))
                return true;
        }
        frame = default;
        return false;
    }

    /// <summary>A processor may create an entry from any present, accessed entry at any time (SDM vol. 3, 4.10.2.3).</summary>
    private void Fill(Task task)
    {
        if (!task.Mm.TryPickMapped(_random, out ulong address))
            return;
        VcpuMask target = default;
        target.Add(_random.Next(_machine.Platform.Vcpus.Count));
        _fill.Address = address;
        _machine.Platform.InterProcessor.Call(task.Vcpu, target, _fill);
        Interlocked.Increment(ref _done[3]);
    }

    /// <summary>Has the target fill its own TLB: nobody else writes it. There is one at a time (<see cref="_busy"/>).</summary>
    private sealed class FillRequest : IpiRequest
    {
        public ulong Address { get; set; }

        public override unsafe void Serve(Vcpu target) => Mmu.FillSpeculatively(target.State, Address);
    }
}

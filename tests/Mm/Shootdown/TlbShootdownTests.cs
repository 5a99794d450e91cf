using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>The decisions of arch/x86/mm/tlb.c, counted on the TLBs themselves.</summary>
public sealed unsafe class TlbShootdownTests
{
    private const ulong Base = 0x2000_0000;

    [TestCase(1, 1, 0)]
    [TestCase(33, 33, 0)]
    [TestCase(34, 0, 1)]
    public void A_range_of_up_to_33_pages_is_flushed_page_by_page(int pages, int single, int full)
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        stand.System.Shootdown.SwitchMm(stand.Vcpu, mm);
        (ulong pagesBefore, ulong loadsBefore) = (stand.Count(Counter.FlushPage), stand.Count(Counter.FlushLoadCr3));
        stand.System.Shootdown.FlushMmRange(stand.Vcpu, mm, Base, Base + ((ulong)pages << 12), 12, freedTables: false);
        Assert.That(stand.Count(Counter.FlushPage) - pagesBefore, Is.EqualTo(single));
        Assert.That(stand.Count(Counter.FlushLoadCr3) - loadsBefore, Is.EqualTo(full));
    }

    [Test]
    public void Requests_that_arrive_in_the_wrong_order_become_one_full_flush()
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        TlbShootdown shootdown = stand.System.Shootdown;
        shootdown.SwitchMm(stand.Vcpu, mm);
        FlushRequest Raise()
        {
            var request = new FlushRequest(shootdown);
            request.Set(mm, Base, Base + 0x1000, 12, mm.Context.RaiseGeneration(), -1);
            return request;
        }
        FlushRequest first = Raise(), second = Raise();
        (ulong pages, ulong loads) = (stand.Count(Counter.FlushPage), stand.Count(Counter.FlushLoadCr3));
        second.Serve(stand.Vcpu);
        first.Serve(stand.Vcpu);
        Assert.That(stand.Count(Counter.FlushPage), Is.EqualTo(pages));
        Assert.That(stand.Count(Counter.FlushLoadCr3), Is.EqualTo(loads + 1));
    }

    [Test]
    public void Six_address_spaces_keep_their_entries_and_the_seventh_takes_a_slot()
    {
        using var stand = new MemoryStand();
        Kernel.Memory.Mm[] spaces = [.. Enumerable.Range(0, 7).Select(_ => stand.Create())];
        ulong Reloads(params int[] order)
        {
            ulong before = stand.Count(Counter.FlushLoadCr3);
            foreach (int i in order)
                stand.System.Shootdown.SwitchMm(stand.Vcpu, spaces[i]);
            return stand.Count(Counter.FlushLoadCr3) - before;
        }
        Assert.That(Reloads(0, 1, 2, 3, 4, 5), Is.EqualTo(6), "first visits");
        Assert.That(Reloads(0, 1, 2, 3, 4, 5), Is.Zero, "six fit");
        Assert.That(Reloads(6), Is.EqualTo(1), "the seventh");
        Assert.That(Reloads(1, 2, 3, 4, 5), Is.LessThanOrEqualTo(1), "at most one of them lost its slot");
    }

    [Test]
    public void A_flush_while_switched_out_is_made_up_for_at_the_next_switch()
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        var other = stand.Create();
        mm.Mmap(null, Base, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        Assert.That(stand.Access(mm, Base, write: true, out _), Is.EqualTo(FaultOutcome.Done));
        stand.System.Shootdown.SwitchMm(stand.Vcpu, other);
        Assert.That(mm.Munmap(null, Base, 0x1000), Is.Zero);
        Assert.That(stand.Access(mm, Base, write: false, out _), Is.EqualTo(FaultOutcome.NotMapped));
    }

    [Test]
    public void A_lazy_vcpu_is_left_alone_unless_tables_are_freed()
    {
        using var stand = new MemoryStand(vcpus: 2);
        var mm = stand.Create();
        TlbShootdown shootdown = stand.System.Shootdown;
        shootdown.SwitchMm(stand.Vcpu, mm);
        Vcpu idle = stand.Vcpus[1];
        idle.Enter();
        shootdown.SwitchMm(idle, mm);
        shootdown.EnterLazy(idle);
        idle.Leave();

        ulong sent = stand.Count(Counter.IpisSent);
        shootdown.FlushPage(stand.Vcpu, mm, Base);
        Assert.That(stand.Count(Counter.IpisSent), Is.EqualTo(sent));
        shootdown.FlushMm(stand.Vcpu, mm, freedTables: true);
        Assert.That(stand.Count(Counter.IpisSent), Is.EqualTo(sent + 1));
        Assert.That(shootdown.StateOf(1).LoadedMm, Is.Null, "it left the address space");
    }

    [Test]
    public void A_lazy_vcpu_that_comes_back_flushes_what_it_missed()
    {
        using var stand = new MemoryStand(vcpus: 2);
        var mm = stand.Create();
        TlbShootdown shootdown = stand.System.Shootdown;
        Vcpu idle = stand.Vcpus[1];
        idle.Enter();
        shootdown.SwitchMm(idle, mm);
        shootdown.EnterLazy(idle);
        shootdown.FlushPage(stand.Vcpu, mm, Base);
        ulong loads = stand.Count(Counter.FlushLoadCr3, 1);
        shootdown.SwitchMm(idle, mm);
        Assert.That(stand.Count(Counter.FlushLoadCr3, 1), Is.EqualTo(loads + 1));
        idle.Leave();
    }

    [Test]
    public void An_address_space_that_nobody_runs_is_flushed_nowhere_but_counts_it()
    {
        using var stand = new MemoryStand(vcpus: 2);
        var mm = stand.Create();
        ulong generation = mm.Context.Generation, sent = stand.Count(Counter.IpisSent), pages = stand.Count(Counter.FlushPage);
        stand.System.Shootdown.FlushPage(stand.Vcpu, mm, Base);
        Assert.That(mm.Context.Generation, Is.EqualTo(generation + 1));
        Assert.That(stand.Count(Counter.IpisSent), Is.EqualTo(sent));
        Assert.That(stand.Count(Counter.FlushPage), Is.EqualTo(pages));
    }

    [Test]
    [CancelAfter(60_000)]
    public void No_vcpu_reads_a_frame_that_munmap_has_given_away(CancellationToken cancel)
    {
        const int readers = 2, rounds = 100;
        const byte mine = 0x55, poison = 0xAA;
        using var stand = new MemoryStand(readers + 1);
        var mm = stand.Create();
        bool stop = false;
        int stale = 0, seen = 0;
        var actions = new List<Action>();
        for (int i = 1; i <= readers; i++)
        {
            Vcpu vcpu = stand.Vcpus[i];
            actions.Add(() =>
            {
                vcpu.Enter();
                stand.System.Shootdown.SwitchMm(vcpu, mm);
                while (!Volatile.Read(ref stop))
                {
                    // A processor that runs the program: its translations are its TLB's, and it polls between instructions.
                    if (Mmu.Translate(vcpu.State, Base, Hardware.Memory.Access.Read, user: true, out ulong physical))
                    {
                        byte value = Volatile.Read(ref *(stand.Pages.Memory.Base + physical));
                        if (value == poison)
                            Interlocked.Increment(ref stale);
                        else if (value == mine)
                            Interlocked.Increment(ref seen);
                    }
                    vcpu.ServeRequests();
                }
                vcpu.Leave();
            });
        }
        actions.Add(() =>
        {
            stand.Vcpu.Enter();
            for (int i = 0; i < rounds; i++)
            {
                mm.Mmap(null, Base, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
                mm.WriteMemory(null, Base, [mine]);
                // Unmapped only once a reader has it in its TLB.
                for (int before = Volatile.Read(ref seen); Volatile.Read(ref seen) == before && !cancel.IsCancellationRequested; Thread.Yield())
                    stand.Vcpu.ServeRequests();
                mm.Munmap(null, Base, 0x1000);
                // Whoever gets the frame now may write anything into it.
                Assert.That(stand.Pages.TryAllocate(PageFlags.Anon, zero: false, out Pfn frame));
                Volatile.Write(ref *stand.Pages.Memory.Pointer(frame), poison);
                stand.Pages.Put(frame);
            }
            Volatile.Write(ref stop, true);
            stand.Vcpu.Leave();
        });
        stand.Vcpu.Leave();
        Smp.Threads.RunAll(cancel, [.. actions]);
        stand.Vcpu.Enter();
        Assert.That(stale, Is.Zero);
    }
}

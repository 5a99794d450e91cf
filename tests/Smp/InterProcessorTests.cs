using Emulator.Hardware;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;

namespace Emulator.Tests.Smp;

/// <summary>Interrupts between vCPUs: each served exactly once on each target, before the call returns, whoever else calls meanwhile.</summary>
internal sealed unsafe class InterProcessorTests
{
    private static Platform Create(int vcpus) => new(new PhysicalMemory(1 << 20), vcpus, TlbGeometry.Default);

    private sealed class Count(int vcpus) : IpiRequest
    {
        public int[] Served { get; } = new int[vcpus];

        /// <summary>Not interlocked on purpose: a target is served by one thread at a time, or counts get lost.</summary>
        public override void Serve(Vcpu target) => Served[target.Id]++;
    }

    [Test]
    public void Idle_and_parked_targets_are_served_by_the_sender()
    {
        using var platform = Create(4);
        platform.Vcpus[0].Enter();
        platform.Vcpus[2].Enter();
        platform.Vcpus[2].Park();
        var count = new Count(4);
        platform.InterProcessor.Call(platform.Vcpus[0], platform.AllVcpus, count);
        Assert.That(count.Served, Is.All.EqualTo(1));
        Assert.That(platform.Total(Counter.IpisSent), Is.EqualTo(3));
        Assert.That(platform.Total(Counter.IpisServedIdle), Is.EqualTo(3));
        platform.Vcpus[2].Unpark();
        Assert.That(platform.Vcpus[1].TryEnter(), "free again");
        Assert.That(platform.Vcpus[2].TryEnter(), Is.False, "held again");
    }

    [Test]
    public void A_sender_that_does_not_name_its_vCPU_is_found_by_its_thread()
    {
        using var platform = Create(2);
        platform.Vcpus[1].Enter();
        var count = new Count(2);
        platform.InterProcessor.Call(null, platform.AllVcpus, count);
        Assert.That(count.Served, Is.All.EqualTo(1));
    }

    /// <summary>The running target's part ends only when the sender's has.</summary>
    private sealed class OwnPartFirst(int sender) : IpiRequest
    {
        private int _own;

        public override void Serve(Vcpu target)
        {
            if (target.Id == sender)
                Volatile.Write(ref _own, 1);
            else
                SpinWait.SpinUntil(() => Volatile.Read(ref _own) != 0);
        }
    }

    [Test]
    [CancelAfter(60_000)]
    public void The_sender_does_its_own_part_while_the_others_work(CancellationToken cancel)
    {
        using var platform = Create(2);
        using var running = new ManualResetEventSlim();
        bool stop = false;
        Threads.RunAll(cancel,
            () =>
            {
                platform.Vcpus[1].Enter();
                running.Set();
                while (!Volatile.Read(ref stop))
                    platform.Vcpus[1].ServeRequests();
                platform.Vcpus[1].Leave();
            },
            () =>
            {
                running.Wait(cancel);
                platform.Vcpus[0].Enter();
                platform.InterProcessor.Call(platform.Vcpus[0], platform.AllVcpus, new OwnPartFirst(0));
                Volatile.Write(ref stop, true);
                platform.Vcpus[0].Leave();
            });
    }

    [Test]
    [CancelAfter(60_000)]
    public void A_running_target_serves_at_its_poll_and_keeps_other_reasons_for_attention(CancellationToken cancel)
    {
        using var platform = Create(2);
        using var running = new ManualResetEventSlim();
        var count = new Count(2);
        bool attention = false;
        Threads.RunAll(cancel,
            () =>
            {
                var vcpu = platform.Vcpus[1];
                vcpu.Enter();
                running.Set();
                while (Volatile.Read(ref count.Served[1]) == 0)
                    vcpu.ServeRequests();
                attention = vcpu.State->Attention < 0 && vcpu.TakeAttention();
                Assert.That(vcpu.State->Attention, Is.Zero);
                vcpu.Leave();
            },
            () =>
            {
                running.Wait(cancel);
                platform.Vcpus[1].RequestAttention();
                platform.Vcpus[0].Enter();
                platform.InterProcessor.Call(platform.Vcpus[0], VcpuMask.Of(1), count);
                platform.Vcpus[0].Leave();
            });
        Assert.That(attention);
        Assert.That(platform.Total(Counter.IpisReceived), Is.EqualTo(1));
    }

    [TestCase(2, 2)]
    [TestCase(8, 8)]
    [TestCase(64, 16)]
    [TestCase(256, 32)]
    [CancelAfter(120_000)]
    public void Concurrent_senders_address_everybody_while_vCPUs_run_park_and_leave(int vcpus, int threads, CancellationToken cancel)
    {
        int calls = 8000 / threads;
        using var platform = Create(vcpus);
        var counts = new Count[threads];
        var actions = new Action[threads];
        int left = threads;
        for (int i = 0; i < threads; i++)
        {
            int number = i;
            var count = counts[i] = new Count(vcpus);
            actions[i] = () =>
            {
                var vcpu = platform.Vcpus[number];
                vcpu.Enter();
                for (int call = 0; call < calls; call++)
                {
                    platform.InterProcessor.Call(vcpu, platform.AllVcpus, count);
                    switch ((call + number) % 5)
                    {
                        case 0:
                            vcpu.Leave();
                            vcpu.Enter();
                            break;
                        case 1:
                            vcpu.Park();
                            vcpu.Unpark();
                            break;
                        case 2:
                            vcpu.ServeRequests();
                            break;
                    }
                }
                vcpu.Leave();
                Interlocked.Decrement(ref left);
            };
        }
        Threads.RunAll(cancel, actions);
        foreach (var count in counts)
            Assert.That(count.Served, Is.All.EqualTo(calls));
        ulong sent = (ulong)(threads * calls * (vcpus - 1));
        Assert.That(platform.Total(Counter.IpisSent), Is.EqualTo(sent));
        Assert.That(platform.Total(Counter.IpisAcknowledged), Is.EqualTo(sent));
        Assert.That(platform.Total(Counter.IpisReceived) + platform.Total(Counter.IpisServedIdle), Is.EqualTo(sent));
    }

    [Test]
    [CancelAfter(60_000)]
    public void A_sender_without_a_vCPU_waits_for_running_targets(CancellationToken cancel)
    {
        const int calls = 300;
        using var platform = Create(3);
        var count = new Count(3);
        int done = 0;
        void Run(Vcpu vcpu)
        {
            vcpu.Enter();
            while (Volatile.Read(ref done) == 0)
                vcpu.ServeRequests();
            vcpu.Leave();
        }
        Threads.RunAll(cancel, () => Run(platform.Vcpus[0]), () => Run(platform.Vcpus[1]), () =>
        {
            for (int i = 0; i < calls; i++)
                platform.InterProcessor.Call(null, platform.AllVcpus, count);
            Volatile.Write(ref done, 1);
        });
        Assert.That(count.Served, Is.All.EqualTo(calls));
    }

    /// <summary>A read-modify-write in two halves, which only stopping everybody makes atomic.</summary>
    private sealed class Increment(int[] cell) : StoppedOthers
    {
        protected override void Act()
        {
            int old = Volatile.Read(ref cell[0]);
            Thread.SpinWait(20);
            Volatile.Write(ref cell[0], old + 1);
        }
    }

    [TestCase(4, 2)]
    [TestCase(6, 4)]
    [CancelAfter(120_000)]
    public void What_is_done_while_others_stand_still_is_atomic_and_ends_with_several_senders(int vcpus, int threads, CancellationToken cancel)
    {
        const int rounds = 1000;
        using var platform = Create(vcpus);
        int[] cell = [0];
        Threads.RunAll(cancel, [.. Enumerable.Range(0, threads).Select(number => (Action)(() =>
        {
            var vcpu = platform.Vcpus[number];
            for (int i = 0; i < rounds; i++)
            {
                vcpu.Enter();
                while (!new Increment(cell).Run(vcpu, StoppedOthers.Served(vcpu)))
                {
                    // Another sender's request came between.
                }
                vcpu.Leave();
            }
        }))]);
        Assert.That(cell[0], Is.EqualTo(rounds * threads));
    }

    [Test]
    public void A_mask_holds_256_vCPUs_and_walks_them_in_order()
    {
        int[] members = [0, 1, 63, 64, 127, 128, 191, 255];
        var mask = default(VcpuMask);
        foreach (int id in members)
            mask.AddAtomic(id);
        var walked = new List<int>();
        for (int id = mask.Next(0); id >= 0; id = mask.Next(id + 1))
            walked.Add(id);
        Assert.That(walked, Is.EqualTo(members));
        Assert.That(mask.Count, Is.EqualTo(members.Length));
        mask.RemoveAtomic(63);
        Assert.That(mask.Contains(63), Is.False);
        Assert.That(VcpuMask.First(256).Count, Is.EqualTo(256));
        Assert.That(VcpuMask.Of(3), Is.Not.EqualTo(VcpuMask.Of(4)));
        Assert.That(default(VcpuMask).IsEmpty);
    }
}

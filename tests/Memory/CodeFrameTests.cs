using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Access = Emulator.Hardware.Memory.Access;

namespace Emulator.Tests.Memory;

/// <summary>Marking frames as code against stores to them.</summary>
internal sealed unsafe class CodeFrameTests
{
    private const ulong Page = 0x40_0000;
    private static readonly Pfn Frame = new(1000);

    /// <summary>Notes which vCPUs were told to forget which frame.</summary>
    private sealed class Recorder : IDecodedCode
    {
        public List<(int Vcpu, Pfn Frame)> Told { get; } = [];

        public void InvalidateFrame(Vcpu vcpu, Pfn frame)
        {
            lock (Told)
                Told.Add((vcpu.Id, frame));
        }
    }

    private static (GuestTables Guest, Recorder Recorder) Machine(int vcpus)
    {
        var guest = new GuestTables(vcpus);
        var recorder = new Recorder();
        guest.Platform.CodeFrames.Decoder = recorder;
        guest.Map(Page, Frame);
        guest.Map(Page + 0x1000, Frame);
        guest.Vcpu.Enter();
        return (guest, recorder);
    }

    [Test]
    public void Marking_revokes_write_permission_from_every_front_under_every_address()
    {
        var (guest, _) = Machine(3);
        using var machine = guest;
        foreach (var vcpu in guest.Platform.Vcpus)
        {
            GuestTables.Touch(vcpu.State, Page, Access.Write);
            GuestTables.Touch(vcpu.State, Page + 0x1000, Access.Write);
        }
        guest.Platform.CodeFrames.Mark(guest.Vcpu, Frame);
        foreach (var vcpu in guest.Platform.Vcpus)
        {
            for (int i = FrontEntry.Count; i < 2 * FrontEntry.Count; i++)
                Assert.That(vcpu.State->Front[i].Tag, Is.EqualTo(FrontEntry.NoTag));
        }
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Read), Is.EqualTo(Frame.Address));
    }

    [Test]
    public void Marking_a_frame_that_nobody_could_write_sends_no_interrupt()
    {
        var (guest, _) = Machine(4);
        using var machine = guest;
        guest.Platform.CodeFrames.Mark(guest.Vcpu, Frame);
        Assert.That(guest.Platform.Total(Counter.IpisSent), Is.Zero);
        GuestTables.Touch(guest.State, Page, Access.Read);
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Write), Is.Null);
    }

    [Test]
    public void A_store_to_code_drops_it_everywhere_and_starts_the_instruction_again()
    {
        var (guest, recorder) = Machine(3);
        using var machine = guest;
        guest.Platform.CodeFrames.Mark(guest.Vcpu, Frame);
        ulong data = 0x1234;
        Assert.That(Mmu.WriteSlow(guest.State, Page, (byte*)&data, 8), Is.False);
        Assert.That(guest.State->Vector, Is.EqualTo(VcpuState.Retry));
        Assert.That(*(ulong*)guest.Platform.Memory.Pointer(Frame), Is.Zero, "not written before it starts again");
        Assert.That(recorder.Told, Is.EquivalentTo(new[] { (0, Frame), (1, Frame), (2, Frame) }));
        Assert.That(Mmu.WriteSlow(guest.State, Page, (byte*)&data, 8));
        Assert.That(*(ulong*)guest.Platform.Memory.Pointer(Frame), Is.EqualTo(data));
    }

    [Test]
    public void A_single_instruction_stores_to_code_at_once()
    {
        var (guest, recorder) = Machine(2);
        using var machine = guest;
        guest.Map(Page + 0x2000, new Pfn(1001));
        guest.Platform.CodeFrames.Mark(guest.Vcpu, Frame);
        guest.Platform.CodeFrames.Mark(guest.Vcpu, new Pfn(1001));
        guest.State->Single = 1;
        ulong data = ulong.MaxValue;
        Assert.That(Mmu.WriteSlow(guest.State, Page + 0x1FFC, (byte*)&data, 8), "crosses from one code frame into another");
        Assert.That(recorder.Told, Has.Count.EqualTo(4));
        Assert.That(*(uint*)guest.Platform.Memory.Pointer(new Pfn(1001)), Is.EqualTo(uint.MaxValue));
    }

    [Test]
    public void A_kernel_write_drops_code_and_a_write_to_plain_memory_does_not_ask()
    {
        var (guest, recorder) = Machine(2);
        using var machine = guest;
        guest.Platform.Memory.BeforeWrite(Frame);
        Assert.That(recorder.Told, Is.Empty);
        guest.Platform.CodeFrames.Mark(guest.Vcpu, Frame);
        guest.Platform.Memory.BeforeWrite(Frame);
        Assert.That(recorder.Told, Has.Count.EqualTo(2));
        guest.Platform.CodeFrames.Mark(guest.Vcpu, Frame);
        guest.Platform.Memory.Discard(new Pfn(0), 2000);
        Assert.That(recorder.Told, Has.Count.EqualTo(4));
    }

    /// <summary>
    /// One vCPU marks the frame, reads a word as a decoder would and expects it to stay until it serves interrupts; two others store
    /// to it, through the front where that lets them and in the kernel's way.
    /// </summary>
    [Test]
    [CancelAfter(60_000)]
    public void No_store_slips_in_between_marking_and_the_next_interrupt(CancellationToken cancel)
    {
        const int rounds = 4000, wantedStores = 500;
        var (guest, _) = Machine(4);
        using var machine = guest;
        guest.Vcpu.Leave();
        var platform = guest.Platform;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        int slipped = 0, stores = 0;

        void Decode(Vcpu vcpu)
        {
            vcpu.Enter();
            for (int i = 0; (i < rounds || Volatile.Read(ref stores) < wantedStores) && !over.IsCancellationRequested; i++)
            {
                platform.CodeFrames.Mark(vcpu, Frame);
                ref ulong word = ref *(ulong*)platform.Memory.Pointer(Frame);
                ulong decoded = Volatile.Read(ref word);
                for (int spin = 0; spin < i % 200; spin++)
                {
                    if (Volatile.Read(ref word) != decoded)
                        Interlocked.Increment(ref slipped);
                }
                vcpu.ServeRequests();
            }
            vcpu.Leave();
            over.Cancel();
        }

        void Store(Vcpu vcpu)
        {
            vcpu.Enter();
            for (ulong value = 1; !over.IsCancellationRequested; value++)
            {
                if (GuestTables.Touch(vcpu.State, Page, Access.Write) is { } physical)
                {
                    Volatile.Write(ref *(ulong*)(platform.Memory.Base + physical), value);
                    Interlocked.Increment(ref stores);
                    vcpu.State->Single = 0;
                }
                else
                {
                    vcpu.State->Single = 1;
                }
                vcpu.ServeRequests();
            }
            vcpu.Leave();
        }

        void StoreAsKernel(Vcpu vcpu)
        {
            vcpu.Enter();
            for (ulong value = 1; !over.IsCancellationRequested; value++)
            {
                platform.Memory.BeforeWrite(Frame);
                Volatile.Write(ref *(ulong*)platform.Memory.Pointer(Frame), value);
                vcpu.ServeRequests();
            }
            vcpu.Leave();
        }

        Smp.Threads.RunAll(cancel, () => Decode(platform.Vcpus[0]), () => Decode(platform.Vcpus[1]), () => Store(platform.Vcpus[2]), () => StoreAsKernel(platform.Vcpus[3]));
        Assert.That(slipped, Is.Zero);
        Assert.That(stores, Is.Not.Zero);
    }
}

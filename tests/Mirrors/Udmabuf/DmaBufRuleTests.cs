using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Mirrors;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mirrors.Udmabuf;

/// <summary>The rules of drivers/dma-buf for drivers on both sides, kept and broken.</summary>
public sealed class DmaBufRuleTests
{
    /// <summary>Runs code; gives the rules that it broke.</summary>
    private static IReadOnlyList<string> Broken(Action<Task> body)
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20, LockDep = true, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(body);
        return [.. machine.Violations.Take().Select(static v => v.Rule)];
    }

    private static int Export(Task task, DmaBufExporter exporter, out DmaBuf? buffer) => DmaBuf.Export(task, task.Machine, exporter, "test", Pfn.Size, out buffer);

    [TestCase(true, true, true, false)]
    [TestCase(false, true, false, false)]
    [TestCase(false, false, true, false)]
    [TestCase(true, false, false, true)]
    [TestCase(false, true, true, true)]
    [TestCase(false, false, false, true)]
    public void An_exporter_pins_and_unpins_or_caches_mappings_or_neither(bool caches, bool pin, bool unpin, bool good)
    {
        int error = 1;
        IReadOnlyList<string> broken = Broken(task => error = Export(task, new Exporter { Caches = caches, Pins = pin, Unpins = unpin }, out _));
        Assert.That(error, Is.EqualTo(good ? 0 : -Errno.EINVAL));
        Assert.That(broken, Is.EqualTo(good ? [] : (string[])[DmaBufRules.ExportOps]));
    }

    [Test]
    public void A_dynamic_importer_has_move_notify()
    {
        int error = 0;
        IReadOnlyList<string> broken = Broken(task =>
        {
            Export(task, new Exporter(), out DmaBuf? buffer);
            error = buffer!.Attach(task, new Importer { HasMoveNotify = false }, "device", out _);
        });
        Assert.That((error, broken), Is.EqualTo((-Errno.EINVAL, (string[])[DmaBufRules.DynamicImporter])));
    }

    /// <summary>Who is mapped at attachment, and whether the exporter pins for it: the core does both where exactly one side may move.</summary>
    [TestCase(false, false, false, false)]
    [TestCase(false, true, true, false)]
    [TestCase(true, false, true, true)]
    [TestCase(true, true, false, false)]
    public void Where_one_side_cannot_move_the_core_maps_at_attachment(bool dynamicExporter, bool dynamicImporter, bool maps, bool pins)
    {
        var exporter = new Exporter { Pins = dynamicExporter, Unpins = dynamicExporter };
        IReadOnlyList<string> broken = Broken(task =>
        {
            Export(task, exporter, out DmaBuf? buffer);
            Assert.That(buffer!.Attach(task, dynamicImporter ? new Importer() : null, "device", out DmaBufAttachment? attachment), Is.Zero);
            Assert.That((attachment!.Cached is not null, attachment.IsPinned, exporter.Pinned), Is.EqualTo((maps, pins, pins ? 1 : 0)));
            buffer.Detach(task, attachment);
            Assert.That((exporter.Pinned, exporter.Mapped), Is.EqualTo((0, 0)));
        });
        Assert.That(broken, Is.Empty);
    }

    [Test]
    public void A_kept_mapping_serves_its_own_direction_or_is_for_both()
    {
        IReadOnlyList<string> broken = Broken(static task =>
        {
            Export(task, new Exporter { Caches = true }, out DmaBuf? buffer);
            buffer!.Attach(task, null, "device", out DmaBufAttachment? attachment);
            using (buffer.Resv.Lock.Enter(task))
            {
                Assert.That(buffer.Map(task, attachment!, DmaDirection.ToDevice, out SgTable? first), Is.Zero);
                Assert.That((buffer.Map(task, attachment!, DmaDirection.ToDevice, out SgTable? again), again), Is.EqualTo((0, first)));
                Assert.That((buffer.Map(task, attachment!, DmaDirection.FromDevice, out SgTable? other), other), Is.EqualTo((-Errno.EBUSY, (SgTable?)null)));
                buffer.Unmap(task, attachment!, first!);
            }
            buffer.Detach(task, attachment!);
            // What the core maps at attachment is for both.
            Export(task, new Exporter(), out DmaBuf? second);
            second!.Attach(task, new Importer(), "device", out attachment);
            using (second.Resv.Lock.Enter(task))
                Assert.That(second.Map(task, attachment!, DmaDirection.FromDevice, out _), Is.Zero);
            second.Detach(task, attachment!);
        });
        Assert.That(broken, Is.Empty);
    }

    [Test]
    public void Mapping_and_move_notify_need_the_dma_resv()
    {
        IReadOnlyList<string> broken = Broken(static task =>
        {
            Export(task, new Exporter { Pins = true, Unpins = true }, out DmaBuf? buffer);
            var importer = new Importer();
            buffer!.Attach(task, importer, "device", out DmaBufAttachment? attachment);
            buffer.Map(task, attachment!, DmaDirection.ToDevice, out SgTable? table);
            buffer.MoveNotify(task);
            buffer.Unmap(task, attachment!, table!);
            Assert.That(importer.Moves, Is.EqualTo(1));
        });
        Assert.That(broken, Is.EqualTo((string[])[DmaBufRules.ResvHeld, DmaBufRules.ResvHeld, DmaBufRules.ResvHeld]));
    }

    [Test]
    public void A_static_importer_waits_for_the_kernels_own_moves_and_for_nothing_else()
    {
        IReadOnlyList<string> broken = Broken(static task =>
        {
            Export(task, new Exporter(), out DmaBuf? buffer);
            buffer!.Attach(task, null, "device", out DmaBufAttachment? attachment);
            DmaFence move = new(), read = new();
            KernelThread mover = task.Machine.Spawn(other =>
            {
                for (int i = 0; i < 100; i++)
                    other.SpinOnce();
                move.Signal();
            });
            using (buffer.Resv.Lock.Enter(task))
            {
                buffer.Resv.Add(move, DmaResvUsage.Kernel);
                buffer.Resv.Add(read, DmaResvUsage.Read);
                Assert.That(buffer.Map(task, attachment!, DmaDirection.ToDevice, out SgTable? table), Is.Zero);
                Assert.That((move.IsSignalled, read.IsSignalled), Is.EqualTo((true, false)));
                buffer.Unmap(task, attachment!, table!);
            }
            mover.Join(task);
            Assert.That((buffer.Resv.IsIdle(DmaResvUsage.Write), buffer.Resv.IsIdle(DmaResvUsage.Read)), Is.EqualTo((true, false)));
            read.Signal();
            Assert.That(buffer.Resv.IsIdle(DmaResvUsage.Bookkeep), Is.True);
            buffer.Detach(task, attachment!);
        });
        Assert.That(broken, Is.Empty);
    }

    private sealed class Importer : IDmaBufImporter
    {
        public bool HasMoveNotify { get; init; } = true;

        public int Moves { get; private set; }

        public void MoveNotify(Task? task, DmaBufAttachment attachment) => Moves++;

        public void Revoke(Task? task, DmaBufAttachment attachment)
        {
        }
    }

    private sealed class Exporter : DmaBufExporter
    {
        public bool Caches { get; init; }

        public bool Pins { get; init; }

        public bool Unpins { get; init; }

        public int Pinned { get; private set; }

        public int Mapped { get; private set; }

        public override bool CachesMappings => Caches;

        public override bool HasPin => Pins;

        public override bool HasUnpin => Unpins;

        public override int Pin(Task? task, DmaBufAttachment attachment)
        {
            Pinned++;
            return 0;
        }

        public override void Unpin(Task? task, DmaBufAttachment attachment) => Pinned--;

        public override int Map(Task? task, DmaBufAttachment attachment, DmaDirection direction, out SgTable? table)
        {
            Mapped++;
            table = new SgTable([default], [0], direction);
            return 0;
        }

        public override void Unmap(Task? task, DmaBufAttachment attachment, SgTable table) => Mapped--;

        public override bool IsCurrent(ulong page, Pfn frame) => true;

        public override void Release(Task? task)
        {
        }
    }
}

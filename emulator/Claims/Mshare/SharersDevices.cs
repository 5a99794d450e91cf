using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 15.</summary>
internal sealed class SharersAreNotTold : Claim
{
    public override string Number => "15";

    public override string Name => "sharers-are-not-told";

    public override string Text => "the mmu_notifiers of sharers are never called for changes of the host";

    public override string Source => "David Hildenbrand and Sean Christopherson, the author agrees; mshare RFC v3 thread, 2024";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "changes are announced for the host address space, and the devices are registered with the sharer's: both kinds, a mirror and a walker, go on reading a page that is somebody else's. Here they stand for KVM and an IOMMU";

    protected override Verdict Try(Evidence evidence)
    {
        (bool mirror, bool walker) = AreWrong(evidence, MshareVariant.Corrected);
        Require(!mirror && !walker, "they are not told with the corrected interface either");
        (mirror, walker) = AreWrong(evidence, MshareVariant.RfcV3);
        return Judge(mirror, walker);
    }

    private static (bool Mirror, bool Walker) AreWrong(Evidence evidence, MshareVariant variant)
    {
        (bool, bool) wrong = default;
        evidence.Stage($"A's devices use a page, B's side unmaps it in the host, {(variant == MshareVariant.RfcV3 ? "RFC v3 as posted" : "corrected")}", 3, stage =>
        {
            Actor a = stage.Enter("A", 0), b = stage.Enter("B", 1), stranger = stage.Enter("stranger", 2);
            Region region = Region.Make(a, 2);
            region.Attach(b);
            var mirror = new HmmMirror(stage.Machine, a.Mm);
            var walker = new WalkerDevice(stage.Machine, a.Mm, MmuNotifierOps.ArchInvalidateSecondaryTlbs);
            int faulted = a.Ask(task =>
            {
                walker.Register(task, task.Mm);
                mirror.Insert(task, task.Mm, Region.Start, Region.Unit);
                return mirror.Fault(task, Region.Start);
            });
            Require(faulted == 0 && mirror.Read(Region.Start).Finding == Finding.Coherent, $"the mirror cannot read: {Errors.Name(faulted)}");
            Require(walker.Read(Region.Start).Finding == Finding.Coherent, "the walker cannot read");
            FrameTag before = Memory.Tag(stage, a.Mm, Region.Start);
            region.Remove(b, 0);
            Reuse.Take(stage, stranger, before);
            DeviceRead mirrored = mirror.Read(Region.Start), walked = walker.Read(Region.Start);
            stage.Evidence.Add($"mirror, told {mirror.Told} times: {mirrored}, reads {mirrored.Value}");
            stage.Evidence.Add($"walker: {walked}, reads {walked.Value}");
            wrong = (mirrored.Finding == Finding.Corrupt, walked.Finding == Finding.Corrupt);
            a.Do(task =>
            {
                mirror.Remove(task);
                walker.Unregister(task);
            });
        }, options => options with { MshareVariant = variant, LockDep = variant == MshareVariant.Corrected });
        return wrong;
    }
}

/// <summary>Claim 16: A maps a region at two places, C maps two regions; both have devices.</summary>
internal sealed class ChainedNotifiers : Claim
{
    public override string Number => "16";

    public override string Name => "chained-notifiers";

    public override string Text => "walking the region's mappings and starting nested ranges in every sharer makes their secondary MMUs right";

    public override string Source => "Sean Christopherson, mshare RFC v3 thread, 2024; Jann Horn, 2025";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "the host's range is announced first, then each mapping's at its own address, and all are ended after the change; no sharer's mmap lock is taken, and registration takes the locks of all hosts in one order, so lockdep has nothing to say";

    protected override Verdict Try(Evidence evidence)
    {
        bool right = false;
        evidence.Stage("B unmaps a page of the region; A maps it twice, C maps another region too", 4, stage =>
        {
            const ulong second = Region.Start + (8 * Region.Unit), other = Region.Start + (16 * Region.Unit);
            Actor a = stage.Enter("A", 0), b = stage.Enter("B", 1), c = stage.Enter("C", 2), stranger = stage.Enter("stranger", 3);
            Region region = Region.Make(b, 2);
            region.Attach(a);
            region.Attach(c);
            Require(region.Map(a, second, Region.Unit, flags: Kernel.Memory.MmanAbi.MAP_SHARED | Kernel.Memory.MmanAbi.MAP_FIXED, offset: Region.Start) == (long)second, "A cannot map the region twice");
            a.Read(second);
            var another = new Region("another");
            another.Create(c);
            Require(another.SetSize(c, other, Region.Unit) == 0 && another.Map(c, other, Region.Unit) == (long)other, "C cannot map another region");

            var events = new List<string>();
            Probe Watch(string name) => new()
            {
                Start = (_, range) => events.Add($"{name} start 0x{range.Start:x}"),
                End = (_, range) => events.Add($"{name} end 0x{range.Start:x}"),
            };
            Probe onHost = Watch("host"), onA = Watch("A"), onC = Watch("C");
            var mirror = new HmmMirror(stage.Machine, a.Mm);
            var walker = new WalkerDevice(stage.Machine, c.Mm, MmuNotifierOps.ArchInvalidateSecondaryTlbs);
            Mm host = region.Host(b);
            b.Do(task => onHost.Register(task, host));
            a.Do(task =>
            {
                onA.Register(task, task.Mm);
                mirror.Insert(task, task.Mm, second, Region.Unit);
            });
            c.Do(task =>
            {
                onC.Register(task, task.Mm);
                walker.Register(task, task.Mm);
            });
            Require(a.Ask(task => mirror.Fault(task, second)) == 0 && mirror.Read(second).Finding == Finding.Coherent, "A's mirror cannot read");
            Require(walker.Read(Region.Start).Finding == Finding.Coherent, "C's walker cannot read");
            FrameTag before = Memory.Tag(stage, a.Mm, Region.Start);
            events.Clear();
            region.Remove(b, 0);
            string[] seen = [.. events];
            foreach (string line in seen)
                stage.Evidence.Add(line);
            Reuse.Take(stage, stranger, before);
            DeviceRead mirrored = mirror.Read(second), walked = walker.Read(Region.Start);
            stage.Evidence.Add($"A's mirror of the second place: {mirrored}");
            stage.Evidence.Add($"C's walker: {walked}");
            string[] starts = [$"A start 0x{Region.Start:x}", $"A start 0x{second:x}", $"C start 0x{Region.Start:x}"];
            bool nested = seen.Length > 1 && seen[0].StartsWith("host start", StringComparison.Ordinal)
                && Array.FindLastIndex(seen, static e => e.Contains("start", StringComparison.Ordinal)) < Array.FindIndex(seen, static e => e.Contains("end", StringComparison.Ordinal));
            right = nested && starts.All(seen.Contains) && mirrored.Finding == Finding.Fault && walked.Finding == Finding.Fault;
            a.Do(task =>
            {
                mirror.Remove(task);
                onA.Unregister(task);
            });
            c.Do(task =>
            {
                walker.Unregister(task);
                onC.Unregister(task);
            });
            b.Do(onHost.Unregister);
        });
        return Judge(right);
    }
}

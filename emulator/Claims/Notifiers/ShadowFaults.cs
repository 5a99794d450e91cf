using Emulator.Hardware.Memory;

namespace Emulator.Claims.Notifiers;

/// <summary>What claims 17 and 18 try: a shadow's fault meets an unmapping, which wins the race as it likes.</summary>
internal static class ShadowFaults
{
    /// <summary>The unmapping comes, from start to end, between the look-up of the page and the installation of the entry.</summary>
    public static DeviceRead Between(Evidence evidence, string title, bool checks, bool keepsReference)
    {
        DeviceRead seen = default;
        evidence.Stage(title, 3, stage =>
        {
            Actor owner = stage.Enter("owner", 0), stranger = stage.Enter("stranger", 1);
            ulong at = owner.Map(2);
            owner.Write(at, 1);
            FrameTag before = Memory.Tag(stage, owner.Mm, at);
            ShadowDevice device = null!;
            device = new ShadowDevice(stage.Machine, owner.Mm)
            {
                Checks = checks,
                KeepsReference = keepsReference,
                BeforeInstall = () => owner.Do(task => task.Mm.Munmap(task, at, Pfn.Size)),
            };
            owner.Do(task => device.Register(task, task.Mm));
            bool served = device.Fault(at);
            stage.Evidence.Add($"the device looks up {before}; the owner unmaps it; the device {(served ? "installs its entry" : $"finds that out and begins again, {device.Retries} time: nothing is mapped any more")}");
            if (stage.IsFreed(before))
                Reuse.Take(stage, stranger, before);
            else
                stage.Evidence.Add($"{before} is not free: the device has a reference");
            seen = device.Read(at);
            stage.Evidence.Add($"{seen}");
            owner.Do(device.Unregister);
            device.DropReferences();
        });
        return seen;
    }

    /// <summary>The device faults while the unmapping is between its start and the clearing of the entry: early notification.</summary>
    public static DeviceRead During(Evidence evidence, string title, bool checks, bool keepsReference)
    {
        DeviceRead seen = default;
        evidence.Stage(title, 3, stage =>
        {
            Actor owner = stage.Enter("owner", 0), stranger = stage.Enter("stranger", 1);
            ulong at = owner.Map(2);
            owner.Write(at, 1);
            FrameTag before = Memory.Tag(stage, owner.Mm, at);
            var device = new ShadowDevice(stage.Machine, owner.Mm) { Checks = checks, KeepsReference = keepsReference };
            bool served = false;
            var behind = new Probe { Start = (_, _) => served = device.Fault(at) }; // The last registered is told first.
            owner.Do(task =>
            {
                behind.Register(task, task.Mm);
                device.Register(task, task.Mm);
            });
            Require(device.Fault(at) && device.Read(at).Finding == Finding.Coherent);
            owner.Do(task => task.Mm.Munmap(task, at, Pfn.Size));
            stage.Evidence.Add($"told the start, the device drops its entry and faults again: {(served ? "it installs the page once more" : "it would wait for the end")}");
            if (stage.IsFreed(before))
                Reuse.Take(stage, stranger, before);
            else
                stage.Evidence.Add($"{before} is not free: the device has a reference");
            seen = device.Read(at);
            stage.Evidence.Add($"{seen}");
            owner.Do(task =>
            {
                behind.Unregister(task);
                device.Unregister(task);
            });
            device.DropReferences();
        });
        return seen;
    }

    private static void Require(bool reads) => Claim.Require(reads, "the device cannot read");
}

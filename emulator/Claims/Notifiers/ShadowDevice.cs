using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Notifiers;

/// <summary>
/// A device with tables of its own, kept right as KVM keeps its second-level tables: invalidations under way are counted, those that ended raise a
/// sequence number, and a fault that finds either changed since it looked the page up begins again (mmu_invalidate_retry).
/// </summary>
/// <param name="machine">Whose memory it reads.</param>
/// <param name="mm">The address space that it shadows.</param>
internal sealed class ShadowDevice(Machine machine, Mm mm) : MmuNotifier
{
    /// <summary>KVM's mmu_lock: a leaf here.</summary>
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, FrameTag> _entries = [];
    private readonly List<Pfn> _kept = [];
    private int _inProgress;
    private ulong _sequence;

    public override MmuNotifierOps Ops => MmuNotifierOps.InvalidateRangeStart | MmuNotifierOps.InvalidateRangeEnd;

    /// <summary>Looks before it installs whether an invalidation came between.</summary>
    public bool Checks { get; init; } = true;

    /// <summary>Keeps the reference that the look-up took, instead of dropping it once the entry is installed.</summary>
    public bool KeepsReference { get; init; }

    /// <summary>Called once, between the look-up of a page and the installation of its entry.</summary>
    public Action? BeforeInstall { get; set; }

    /// <summary>Faults that began again.</summary>
    public int Retries { get; private set; }

    public override int InvalidateRangeStart(Task? task, in MmuNotifierRange range)
    {
        lock (_lock)
        {
            _inProgress++;
            foreach (ulong page in _entries.Keys)
            {
                if (page >= range.Start && page < range.End)
                    _entries.Remove(page);
            }
        }
        return 0;
    }

    public override void InvalidateRangeEnd(Task? task, in MmuNotifierRange range)
    {
        lock (_lock)
        {
            _sequence++;
            _inProgress--;
        }
    }

    /// <summary>A fault of the device. False: nothing is mapped there, or an invalidation is under way and it would have to wait.</summary>
    public bool Fault(ulong page)
    {
        while (true)
        {
            ulong before = Volatile.Read(ref _sequence);
            if (!mm.TryWalk(page, write: false, out Pfn frame))
                return false;
            machine.Pages.Get(frame);
            (Action? act, BeforeInstall) = (BeforeInstall, null);
            act?.Invoke();
            bool retry, waits;
            lock (_lock)
            {
                waits = _inProgress != 0;
                retry = Checks && (waits || _sequence != before);
                if (!retry)
                    _entries[page] = new FrameTag(frame, machine.Pages[frame].Generation);
            }
            if (KeepsReference && !retry)
                _kept.Add(frame);
            else
                machine.Pages.Put(frame);
            if (!retry)
                return true;
            Retries++;
            if (waits)
                return false;
        }
    }

    /// <summary>One read through the device's own entry.</summary>
    public DeviceRead Read(ulong page)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(page, out FrameTag entry))
                return new DeviceRead(page, Finding.Fault, default, 0, 0);
            uint generation = machine.Pages[entry.Frame].Generation;
            Finding finding = generation != entry.Generation ? Finding.Corrupt
                : mm.TryWalk(page, write: false, out Pfn now) && now == entry.Frame ? Finding.Coherent
                : Finding.Stale;
            return new DeviceRead(page, finding, entry, generation, machine.Memory.BytesOf(entry.Frame)[0]);
        }
    }

    /// <summary>Drops the references that it kept.</summary>
    public void DropReferences()
    {
        foreach (Pfn frame in _kept)
            machine.Pages.Put(frame);
        _kept.Clear();
    }
}

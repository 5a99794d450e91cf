using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Notifiers;

/// <summary>A device that mirrors an address space through hmm_range_fault and keeps no reference to pages (Documentation/mm/hmm.rst).</summary>
/// <param name="machine">Whose memory it reads.</param>
/// <param name="mm">The address space that it mirrors.</param>
internal sealed class HmmMirror(Machine machine, Mm mm) : MmuIntervalNotifier
{
    /// <summary>The lock that readers and the callback take: a leaf here.</summary>
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, FrameTag> _entries = [];

    /// <summary>Times that it was told of a change.</summary>
    public int Told { get; private set; }

    public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
    {
        lock (_lock)
        {
            SetSequence(sequence);
            Told++;
            foreach (ulong page in _entries.Keys)
            {
                if (page >= range.Start && page < range.End)
                    _entries.Remove(page);
            }
        }
        return true;
    }

    /// <summary>A fault of the device.</summary>
    /// <returns>0 or a negative errno.</returns>
    public int Fault(Task task, ulong page)
    {
        var pfns = new ulong[1];
        while (true)
        {
            var range = new HmmRange(mm, page, page + Pfn.Size, pfns) { Notifier = this, DefaultFlags = HmmPfn.ReqFault, NotifierSequence = ReadBegin(task) };
            int error;
            using (mm.EnterRead(task))
                error = Hmm.RangeFault(task, range);
            if (error == -Errno.EBUSY)
                continue;
            if (error != 0)
                return error;
            lock (_lock)
            {
                if (ReadRetry(range.NotifierSequence))
                    continue;
                Pfn frame = HmmRange.FrameOf(pfns[0]);
                _entries[page] = new FrameTag(frame, machine.Pages[frame].Generation);
                return 0;
            }
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
}

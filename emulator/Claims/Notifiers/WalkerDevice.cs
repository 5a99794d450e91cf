using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Notifiers;

/// <summary>A device with a TLB of its own that reads the CPUs' page tables, as an IOMMU does for shared virtual addressing. It forgets where it is told to.</summary>
/// <param name="machine">Whose memory it reads.</param>
/// <param name="mm">The address space that it is bound to.</param>
/// <param name="ops">The callbacks that it has.</param>
internal sealed class WalkerDevice(Machine machine, Mm mm, MmuNotifierOps ops) : MmuNotifier
{
    /// <summary>Callbacks run under page-table locks, where nothing may sleep: a leaf lock, never held over anything else.</summary>
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, FrameTag> _tlb = [];

    public override MmuNotifierOps Ops => ops;

    /// <summary>Computes the number of pages without looking for "everything" first.</summary>
    public bool Naive { get; init; }

    public override int InvalidateRangeStart(Task? task, in MmuNotifierRange range)
    {
        Forget(range.Start, range.End);
        return 0;
    }

    public override void InvalidateRangeEnd(Task? task, in MmuNotifierRange range) => Forget(range.Start, range.End);

    public override void ArchInvalidateSecondaryTlbs(Task? task, Mm of, ulong start, ulong end)
    {
        if (Naive)
        {
            ulong pages = unchecked(end - start + 0xFFF) >> 12;
            end = start + (pages << 12);
        }
        Forget(start, end);
    }

    private void Forget(ulong start, ulong end)
    {
        lock (_lock)
        {
            foreach (ulong page in _tlb.Keys.Where(page => page >= start && page < end))
                _tlb.Remove(page);
        }
    }

    /// <summary>One read, by the device's TLB or else by the tables.</summary>
    public DeviceRead Read(ulong address)
    {
        lock (_lock)
        {
            ulong page = address & ~0xFFFUL;
            bool walks = mm.TryWalk(page, write: false, out Pfn now);
            if (!_tlb.TryGetValue(page, out FrameTag cached))
            {
                if (!walks)
                    return new DeviceRead(address, Finding.Fault, default, 0, 0);
                _tlb[page] = cached = new FrameTag(now, machine.Pages[now].Generation);
            }
            uint generation = machine.Pages[cached.Frame].Generation;
            Finding finding = generation != cached.Generation ? Finding.Corrupt : walks && now == cached.Frame ? Finding.Coherent : Finding.Stale;
            return new DeviceRead(address, finding, cached, generation, machine.Memory.BytesOf(cached.Frame)[(int)(address & 0xFFF)]);
        }
    }
}

/// <summary>One access of a device.</summary>
/// <param name="Address">What it read.</param>
/// <param name="Finding">What came of it.</param>
/// <param name="Cached">The translation that it used, as it was fetched.</param>
/// <param name="Generation">The frame's generation at the access.</param>
/// <param name="Value">The byte read.</param>
internal readonly record struct DeviceRead(ulong Address, Finding Finding, FrameTag Cached, uint Generation, byte Value)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"device reads 0x{Address:x}: ") + Finding switch
    {
        Finding.Fault => "no translation",
        Finding.Coherent => $"{Cached}, as the tables say",
        Finding.Stale => $"{Cached}, which the tables do not map there any more: stale",
        _ => string.Create(CultureInfo.InvariantCulture, $"{Cached}, which is at generation {Generation} now: corruption"),
    };
}

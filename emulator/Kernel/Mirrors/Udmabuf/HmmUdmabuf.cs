using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// A buffer that is a mirror of its maker's mappings of the files: an interval notifier takes its pages, hmm_range_fault brings them again. It holds no
/// references. When the maker unmaps a file, or ends, the buffer has nothing there any more.
/// </summary>
internal sealed class HmmUdmabuf(Machine machine, UdmabufItem[] items) : RevocableUdmabuf(machine, items)
{
    private readonly List<Mirror> _mirrors = [];
    private Mm? _mm;

    /// <summary>-EINVAL: the maker does not map, shared and whole, what it wants a buffer of.</summary>
    protected override int Subscribe(Task task)
    {
        _mm = task.Mm;
        foreach (UdmabufItem item in Items)
        {
            if (!UdmabufPlaces.TryFind(task, _mm, item, out ulong address))
                return -Errno.EINVAL;
            var mirror = new Mirror(this, item, address);
            int error = mirror.Insert(task, _mm, address, item.Pages << Pfn.Shift);
            if (error != 0)
                return error;
            _mirrors.Add(mirror);
        }
        return 0;
    }

    protected override void Unsubscribe(Task? task)
    {
        foreach (Mirror mirror in _mirrors)
            mirror.Remove(task);
    }

    /// <summary>Nothing is held: a page stays while the maker's tables map it, and a change of those is heard of.</summary>
    protected override void Drop(Pfn frame)
    {
    }

    protected override int Find(Task task, ulong page, out Pfn frame)
    {
        frame = default;
        UdmabufItem item = ItemOf(page);
        Mirror mirror = _mirrors[Array.IndexOf(Items, item)];
        ulong[] pfns = new ulong[1];
        ulong address = mirror.Address + ((page - item.Start) << Pfn.Shift);
        var range = new HmmRange(_mm!, address, address + Pfn.Size, pfns)
        {
            Notifier = mirror,
            NotifierSequence = mirror.ReadBegin(task),
            DefaultFlags = HmmPfn.ReqFault | HmmPfn.ReqWrite,
        };
        int error = -Errno.EFAULT;
        // No user of the maker's address space: the last one tears it down, which the caller's locks forbid. The mirror keeps it, the lock its
        // tables, and where it has ended nothing is mapped.
        using (_mm!.EnterRead(task))
        {
            // Something else may be mapped there by now.
            if (UdmabufPlaces.Maps(_mm.Vmas.Find(address), item, address, item.First + (page - item.Start)))
                error = Hmm.RangeFault(task, range);
        }
        frame = HmmRange.FrameOf(pfns[0]);
        if (error == 0)
            Machine.DmaBufs.Count(DmaBufCounter.Acquired);
        return error;
    }

    private sealed class Mirror(HmmUdmabuf buffer, UdmabufItem item, ulong address) : MmuIntervalNotifier
    {
        public ulong Address => address;

        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            // Devices must be waited for.
            if (!range.Blockable)
                return false;
            ulong end = address + (item.Pages << Pfn.Shift);
            ulong first = (Math.Max(range.Start, address) - address) >> Pfn.Shift, last = (Math.Min(range.End, end) - 1 - address) >> Pfn.Shift;
            SetSequence(sequence);
            buffer.BeginChange(task, item.Start + first, item.Start + last, lasts: false);
            return true;
        }
    }
}

/// <summary>Where an address space maps the pages of a buffer.</summary>
internal static class UdmabufPlaces
{
    /// <summary>The first address at which the address space maps all of an item, shared, in one VMA.</summary>
    public static bool TryFind(Task task, Mm mm, UdmabufItem item, out ulong address)
    {
        using var scope = mm.EnterRead(task);
        for (Vma? vma = mm.Vmas.First; vma is not null; vma = mm.Vmas.Next(vma))
        {
            if (!vma.IsShared || vma.Cache != item.File || vma.PageOffset > item.First || item.First + item.Pages > vma.PageOffset + vma.Pages)
                continue;
            address = vma.Start + ((item.First - vma.PageOffset) << Pfn.Shift);
            return true;
        }
        address = 0;
        return false;
    }

    /// <summary>Whether a VMA maps a page of an item's file at an address.</summary>
    public static bool Maps(Vma? vma, UdmabufItem item, ulong address, ulong index) =>
        vma is { IsShared: true } && vma.Cache == item.File && vma.IndexOf(address) == index;
}

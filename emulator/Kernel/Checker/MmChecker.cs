using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Checker;

/// <summary>
/// Compares what frames say of themselves with what is really there: page tables of all address spaces, page caches, the swap area, and reverse
/// maps both ways. The machine must be quiescent: no task is in the kernel.
/// </summary>
/// <remarks>In bounds: runs of entries end with their table, and the allocator refuses frames that do not exist.</remarks>
internal sealed unsafe partial class MmChecker(MemorySystem system)
{
    private readonly List<string> _errors = [];
    private readonly Dictionary<ulong, List<(Mm Mm, ulong Address)>> _mappings = [];
    private readonly Dictionary<ulong, List<(Mm Mm, ulong Address)>> _leaves = [];
    private readonly Dictionary<ulong, int> _slots = [];

    private PageAllocator Pages => system.Pages;

    /// <summary>The machine ended in the middle of what tasks did, and what pages they had locked for that, or referred to, are theirs still.</summary>
    public bool TasksWereCutShort { get; init; }

    /// <summary>Everything that does not agree; empty if all is well.</summary>
    /// <param name="held">References that the caller knows of beside mappings, caches and pins.</param>
    public IReadOnlyList<string> Check(IReadOnlyDictionary<Pfn, int>? held = null)
    {
        foreach (Mm mm in system.AddressSpaces)
        {
            CheckTables(mm);
            CheckLinks(mm);
        }
        ulong span = Pages.UsedSpan;
        for (ulong position = 0; position < span; position++)
        {
            Pfn frame = Pages.UsedFrame(position);
            CheckCounts(frame, held?.GetValueOrDefault(frame) ?? 0);
        }
        foreach (DevPagemap map in Pages.Devices.All)
        {
            for (ulong i = 0; i < map.Count; i++)
                CheckCounts(new Pfn(map.First.Value + i), 0);
        }
        foreach ((ulong frame, List<(Mm, ulong)> mappings) in _mappings)
            CheckReverseMap(new Pfn(frame), mappings, level: 0);
        foreach ((ulong frame, List<(Mm, ulong)> mappings) in _leaves)
            CheckReverseMap(new Pfn(frame), mappings, level: 1);
        foreach ((ulong slot, int count) in _slots)
        {
            if (system.Swap.CountOf(slot) < count)
                Report($"{count} entries name swap slot {slot}, which counts {system.Swap.CountOf(slot)}");
        }
        CheckSwapUse();
        return _errors;
    }

    /// <summary>A slot is in use because an entry or a page cache names it, or for a frame that may still be dropped without being written again.</summary>
    private void CheckSwapUse()
    {
        long used = _slots.Count;
        foreach (PageCache cache in Pages.Caches)
            used += cache.SwappedPages;
        for (ulong position = 0; position < Pages.UsedSpan; position++)
        {
            Pfn frame = Pages.UsedFrame(position);
            if ((Pages[frame].Flags & PageFlags.SwapCache) != 0 && !_slots.ContainsKey(system.Swap.SlotOf(frame)))
                used++;
        }
        if (used != system.Swap.UsedSlots)
            Report($"{system.Swap.UsedSlots} swap slots are in use, but {used} have a user");
    }

    private void Report(FormattableString text) => _errors.Add(text.ToString(CultureInfo.InvariantCulture));

    private void CheckTables(Mm mm)
    {
        long anon = 0, file = 0, shmem = 0, swap = 0, hugeTlb = 0;
        ulong address = 0;
        while (mm.Tables.NextRun(ref address, Layout.TaskSize, out ulong* entries, out int count, out int level))
        {
            int weight = level > 0 ? PageTables.LeafPages : 1;
            for (int i = 0; i < count; i++)
            {
                ulong entry = entries[i], at = address + ((ulong)i << Pfn.Shift);
                if (entry == 0)
                    continue;
                if (mm.Vmas.Find(at) is not { } vma)
                {
                    Report($"entry {entry:x} at {at:x} outside of any VMA");
                    continue;
                }
                if (SwapEntry.TryDecode(entry, out SwapEntry elsewhere))
                {
                    swap += CheckSwapEntry(elsewhere, at);
                    if (!elsewhere.HasFrame)
                        continue;
                }
                Pfn frame = elsewhere.HasFrame ? elsewhere.Frame : PageTables.FrameOf(entry);
                if (frame == Pages.Zero)
                    continue;
                ref Page page = ref Pages[frame];
                if (PageTables.IsSpecial(entry))
                {
                    CheckSpecial(vma, at, frame);
                    continue;
                }
                if ((page.Flags & PageFlags.HugeTlb) != 0)
                    hugeTlb += weight;
                else if (page.IsAnon)
                    anon += weight;
                else if ((page.Flags & PageFlags.SwapBacked) != 0)
                    shmem += weight;
                else
                    file += weight;
                if (elsewhere.IsMigration)
                    continue;
                if (level > 0)
                    ListOf(_leaves, frame).Add((mm, at));
                else
                    ListOf(_mappings, frame).Add((mm, at));
                CheckEntry(vma, at, entry, frame);
            }
            address = level > 0 ? PageTables.NextBoundary(address, Layout.TaskSize, level) : address + ((ulong)count << Pfn.Shift);
        }
        Compare("anonymous pages", mm.AnonPages, anon);
        Compare("file pages", mm.FilePages, file);
        Compare("shmem pages", mm.ShmemPages, shmem);
        Compare("hugetlb pages", mm.HugeTlbPages, hugeTlb);
        Compare("swap entries", mm.SwapEntries, swap);
    }

    /// <summary>A driver's frame: not counted, so all that can be wrong is that the driver has given it back.</summary>
    private void CheckSpecial(Vma vma, ulong address, Pfn frame)
    {
        if ((vma.Flags & VmFlags.PfnMap) == 0)
            Report($"{vma.Mm.Context.Id}:{address:x} maps {frame} uncounted in {vma}");
        if ((Pages[frame].Flags & PageFlags.Free) != 0)
            Report($"{vma.Mm.Context.Id}:{address:x} maps the free frame {frame} of a driver");
    }

    private int CheckSwapEntry(SwapEntry entry, ulong address)
    {
        if (entry.IsMigration && !IsUnsettled(entry.Frame))
            Report($"migration entry for {entry.Frame} left at {address:x}");
        if (entry.Kind != SwapKind.Swap)
            return 0;
        _slots[entry.Offset] = _slots.GetValueOrDefault(entry.Offset) + 1;
        return 1;
    }

    private void CheckEntry(Vma vma, ulong address, ulong entry, Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Free) != 0)
            Report($"{vma.Mm.Context.Id}:{address:x} maps the free frame {frame}");
        bool writable = (entry & (ulong)Pte.Writable) != 0;
        if (writable && (vma.Flags & VmFlags.Write) == 0)
            Report($"{vma.Mm.Context.Id}:{address:x} is writable, its VMA {vma} is not");
        if (page.IsAnon)
        {
            if (writable && !page.IsAnonExclusive)
                Report($"{vma.Mm.Context.Id}:{address:x} maps {frame} writable though it is not exclusive");
            if (vma.IsShared)
                Report($"{vma.Mm.Context.Id}:{address:x}: anonymous page {frame} in a shared mapping");
        }
        else if ((page.Flags & PageFlags.Cache) != 0)
        {
            if (vma.Cache is null || page.Owner != vma.Cache.Id || page.Index != vma.IndexOf(address))
                Report($"{vma.Mm.Context.Id}:{address:x} maps {frame}, page {page.Index} of cache {page.Owner}, where page {vma.IndexOf(address)} of {vma.Cache?.Id} belongs");
        }
    }

    /// <summary>A task that was cut short had locked the page to move it, split it or take it: what refers to it is in between.</summary>
    private bool IsUnsettled(Pfn frame) => TasksWereCutShort && ((Pages[frame].Flags | Pages[Pages.HeadOf(frame)].Flags) & PageFlags.Locked) != 0;

    private void CheckCounts(Pfn frame, int held)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & (PageFlags.Free | PageFlags.Reserved | PageFlags.HugeTlb)) != 0)
            return;
        if (IsUnsettled(frame))
            return;
        if ((page.Flags & PageFlags.Locked) != 0)
            Report($"{frame} is locked");
        int mapped = Count(_mappings, frame);
        if ((page.Flags & (PageFlags.Anon | PageFlags.Cache)) != 0)
            Compare($"map count of {frame}", page.MapCount, mapped);
        // A remote page is exclusive to two address spaces together.
        if (page.IsAnonExclusive && (page.Flags & PageFlags.Remote) == 0 && mapped + Count(_leaves, Pages.HeadOf(frame)) > 1)
            Report($"{frame} is exclusive, yet mapped {mapped} times");
        if ((page.Flags & PageFlags.Tail) != 0)
            return;
        long expected = held;
        for (ulong i = 0; i < ((page.Flags & PageFlags.Head) != 0 ? (ulong)PageTables.LeafPages : 1); i++)
            expected += Count(_mappings, new Pfn(frame.Value + i));
        if ((page.Flags & PageFlags.Head) != 0)
        {
            Compare($"entire map count of {frame}", Pages.EntireMapCount(frame), Count(_leaves, frame));
            expected += Count(_leaves, frame);
        }
        if ((page.Flags & PageFlags.Cache) != 0 && IsCached(frame))
            expected++;
        if ((page.Flags & PageFlags.SwapCache) != 0)
            expected++;
        if ((page.Flags & PageFlags.Table) != 0)
            expected += 1 + _links.GetValueOrDefault(frame.Value);
        // Pins cannot be told from what they are for; each is worth so much.
        if ((page.Flags & (PageFlags.Anon | PageFlags.Cache | PageFlags.Table)) != 0 && !(TasksWereCutShort && page.RefCount > expected))
            Compare($"references of {frame} ({page.Flags})", page.RefCount % Page.PinBias, expected % Page.PinBias);
    }

    private bool IsCached(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if (page.Owner == 0)
            return false;
        if (Pages.CacheOf(page.Owner) is not { } cache)
        {
            Report($"{frame} belongs to cache {page.Owner}, which is gone");
            return false;
        }
        bool found = cache.TryGetPresent(page.Index, out Pfn cached);
        if (!found || cached != frame)
            Report($"{frame} says it is page {page.Index} of cache {page.Owner}, where {(found ? cached.ToString() : "nothing")} is");
        if (found)
            Pages.Put(cached);
        return found && cached == frame;
    }

    private sealed class Found
    {
        public readonly List<(Mm Mm, ulong Address)> Places = [];
        public required Pfn Frame;
        public required int Level;
    }

    /// <summary>The reverse map leads to every entry that maps the frame, and to each once.</summary>
    private void CheckReverseMap(Pfn frame, List<(Mm Mm, ulong Address)> mappings, int level)
    {
        if ((Pages[frame].Flags & (PageFlags.Reserved | PageFlags.HugeTlb)) != 0)
            return;
        var found = new Found { Frame = frame, Level = level };
        system.Rmap.Walk(null, frame, ref found, static (Vma vma, ulong address, ref Found f) =>
        {
            ulong* entry = vma.Mm.Tables.Find(address, out int level);
            ulong value = entry is null ? 0 : *entry;
            bool maps = level == f.Level && (PageTables.IsMapped(value) ? PageTables.FrameOf(value) == f.Frame
                : SwapEntry.TryDecode(value, out SwapEntry elsewhere) && elsewhere.HasFrame && elsewhere.Frame == f.Frame);
            if (maps)
                f.Places.Add((vma.Mm, address));
            return true;
        });
        foreach ((Mm mm, ulong address) in mappings)
        {
            int times = found.Places.Count(p => p.Mm == mm && p.Address == address);
            if (times != 1)
                Report($"the reverse map of {frame} ({Pages[frame].Flags}, owner {Pages[frame].Owner}, index {Pages[frame].Index:x}) finds {mm.Context.Id}:{address:x} {times} times");
        }
        if (found.Places.Count > mappings.Count)
            Report($"the reverse map of {frame} finds {found.Places.Count} entries of {mappings.Count}");
    }

    private static List<(Mm Mm, ulong Address)> ListOf(Dictionary<ulong, List<(Mm Mm, ulong Address)>> lists, Pfn frame)
    {
        if (!lists.TryGetValue(frame.Value, out List<(Mm, ulong)>? list))
            lists[frame.Value] = list = [];
        return list;
    }

    private static int Count(Dictionary<ulong, List<(Mm Mm, ulong Address)>> lists, Pfn frame) =>
        lists.TryGetValue(frame.Value, out List<(Mm, ulong)>? list) ? list.Count : 0;

    private void Compare(string what, long actual, long expected)
    {
        if (actual != expected)
            Report($"{what}: {actual}, expected {expected}");
    }
}

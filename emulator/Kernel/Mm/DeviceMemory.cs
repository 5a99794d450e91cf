using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Frames of a device's own memory (<c>struct dev_pagemap</c>, MEMORY_DEVICE_PRIVATE), which no processor can reach: they have metadata, as
/// all frames have, and their data are the device's business. While a page of a program is in one, its entry is one of
/// <see cref="SwapKind.DevicePrivateRead"/> or <see cref="SwapKind.DevicePrivateWrite"/>.
/// </summary>
/// <param name="owner">Who is meant by <see cref="Notifiers.HmmRange.DevicePrivateOwner"/> and <see cref="MigrateVma.PagemapOwner"/>.</param>
public abstract class DevPagemap(object owner)
{
    public object Owner { get; } = owner;

    /// <summary>The first frame, once there are any (<see cref="DeviceMemory.Add"/>).</summary>
    public Pfn First { get; internal set; }

    /// <summary>How many.</summary>
    public ulong Count { get; internal set; }

    internal bool Contains(Pfn frame) => frame.Value - First.Value < Count;

    /// <summary>The last reference to a page is gone (page_free). Must not block: the caller may hold any lock.</summary>
    public abstract void PageFree(Pfn frame);

    /// <summary>
    /// A processor needs the page (migrate_to_ram): see to it by <see cref="MigrateVma"/>, with the page as its
    /// <see cref="MigrateVma.FaultPage"/>. The mmap lock is held for reading.
    /// </summary>
    /// <returns><see cref="FaultOutcome.Done"/>, also if the access is to be tried again; else what becomes of it.</returns>
    public abstract FaultOutcome MigrateToRam(Task? task, Vma vma, ulong address, Pfn frame);
}

/// <summary>The frame numbers behind the machine's memory, which devices share (mm/memremap.c).</summary>
public sealed class DeviceMemory
{
    /// <summary>How many there are.</summary>
    public const ulong Frames = 1 << 20;

    private readonly PageAllocator _pages;
    private readonly Lock _lock = new();

    /// <summary>In the order of their frames; replaced as a whole.</summary>
    private DevPagemap[] _maps = [];

    internal DeviceMemory(PageAllocator pages) => _pages = pages;

    private ulong First => _pages.Memory.FrameCount;

    /// <summary>All that there is.</summary>
    internal IReadOnlyList<DevPagemap> All => Volatile.Read(ref _maps);

    /// <summary>Whose a frame is; null: nobody's, or memory of the machine.</summary>
    public DevPagemap? Find(Pfn frame)
    {
        foreach (DevPagemap map in Volatile.Read(ref _maps))
        {
            if (map.Contains(frame))
                return map;
        }
        return null;
    }

    /// <summary>Gives a device frame numbers (request_free_mem_region and memremap_pages). False: there are not that many left in one piece.</summary>
    public bool Add(DevPagemap map, ulong count)
    {
        lock (_lock)
        {
            ulong at = First;
            int index = 0;
            for (; index < _maps.Length && _maps[index].First.Value - at < count; index++)
                at = _maps[index].First.Value + _maps[index].Count;
            if (count > First + Frames - at)
                return false;
            map.First = new Pfn(at);
            map.Count = count;
            Volatile.Write(ref _maps, [.. _maps[..index], map, .. _maps[index..]]);
            return true;
        }
    }

    /// <summary>Takes them back; nobody uses them any more (memunmap_pages).</summary>
    public void Remove(DevPagemap map)
    {
        lock (_lock)
            Volatile.Write(ref _maps, [.. _maps.Where(m => m != map)]);
    }

    /// <summary>Makes a free frame a page with one reference, locked, that is nobody's yet (zone_device_page_init).</summary>
    public void InitializePage(Pfn frame)
    {
        ref Page page = ref _pages[frame];
        page.MapCount = 0;
        page.Owner = 0;
        page.Index = 0;
        page.Flags = PageFlags.Locked;
        Volatile.Write(ref page.RefCount, 1);
    }

    /// <summary>The last reference to a page is gone (free_zone_device_folio).</summary>
    internal void Free(Pfn frame)
    {
        ref Page page = ref _pages[frame];
        page.Flags = PageFlags.Free;
        page.Owner = 0;
        page.Generation++;
        Find(frame)?.PageFree(frame);
    }
}

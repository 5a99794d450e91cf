using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Mirrors;

/// <summary>What a device may do with a page of its table.</summary>
internal enum MirrorTag
{
    Read = 0,
    /// <summary>Read and change atomically, because no processor can reach the page (DPT_XA_TAG_ATOMIC).</summary>
    Atomic = 1,
    /// <summary>Read and write (DPT_XA_TAG_WRITE).</summary>
    Write = 3,
}

/// <summary>
/// A device's page table: from page numbers to frames, in blocks that are there only where something is. It holds no references to frames:
/// whoever keeps it erases entries when the notifier says so.
/// </summary>
/// <param name="memory">Where blocks are counted: whoever stores entries asks first whether there is room.</param>
/// <remarks>In bounds: an index in a block has 9 bits; ranges are cut to the block before they become spans.</remarks>
internal sealed class MirrorTable(Memory.KernelMemory memory)
{
    private const int BlockShift = 9, BlockSize = 1 << BlockShift, TagBits = 2;

    private readonly Dictionary<ulong, ulong[]> _blocks = [];

    /// <summary>Whether any of the pages [first, last] has an entry. A change may be of all addresses that there are: only what is here is looked at.</summary>
    public bool HasAny(ulong first, ulong last)
    {
        foreach ((ulong number, ulong[] block) in _blocks)
        {
            ulong start = number << BlockShift, end = start + (BlockSize - 1);
            if (last >= start && first <= end && block.AsSpan((int)(Math.Max(first, start) - start)..(int)(Math.Min(last, end) - start + 1)).ContainsAnyExcept(0UL))
                return true;
        }
        return false;
    }

    /// <summary>Whether there is an entry for a page, and which.</summary>
    public bool TryFind(ulong page, out Pfn frame, out MirrorTag tag)
    {
        ulong entry = _blocks.TryGetValue(page >> BlockShift, out ulong[]? block) ? block[page & (BlockSize - 1)] : 0;
        frame = new Pfn(entry >> TagBits);
        tag = (MirrorTag)(entry & ((1 << TagBits) - 1));
        // Frame 0 is never handed out.
        return entry != 0;
    }

    public void Store(ulong page, Pfn frame, MirrorTag tag)
    {
        if (!_blocks.TryGetValue(page >> BlockShift, out ulong[]? block))
        {
            memory.Charge(Memory.KernelMemory.MirrorBlock);
            _blocks[page >> BlockShift] = block = new ulong[BlockSize];
        }
        block[page & (BlockSize - 1)] = frame.Value << TagBits | (ulong)tag;
    }

    /// <summary>Erases all there is.</summary>
    public void Clear() => Erase(0, ulong.MaxValue);

    /// <summary>Erases the entries of the pages [first, last].</summary>
    public void Erase(ulong first, ulong last)
    {
        ulong from = first >> BlockShift, to = last >> BlockShift;
        if (to - from < (ulong)_blocks.Count)
        {
            for (ulong number = from; number <= to; number++)
                EraseIn(number, first, last);
            return;
        }
        foreach (ulong number in _blocks.Keys)
        {
            if (number >= from && number <= to)
                EraseIn(number, first, last);
        }
    }

    /// <summary>Whether an entry of the pages [first, last] has a tag. A program may ask about all addresses that there are: only what is here is looked at.</summary>
    public bool HasAny(ulong first, ulong last, MirrorTag tag)
    {
        foreach ((ulong number, ulong[] block) in _blocks)
        {
            ulong start = number << BlockShift, end = start + (BlockSize - 1);
            if (last < start || first > end)
                continue;
            foreach (ulong entry in block.AsSpan((int)(Math.Max(first, start) - start)..(int)(Math.Min(last, end) - start + 1)))
            {
                if (entry != 0 && (MirrorTag)(entry & ((1 << TagBits) - 1)) == tag)
                    return true;
            }
        }
        return false;
    }

    private void EraseIn(ulong number, ulong first, ulong last)
    {
        ulong start = number << BlockShift, end = start + (BlockSize - 1);
        if (first <= start && last >= end)
            memory.Uncharge(_blocks.Remove(number) ? Memory.KernelMemory.MirrorBlock : 0);
        else if (_blocks.TryGetValue(number, out ulong[]? block))
            block.AsSpan((int)(Math.Max(first, start) - start)..(int)(Math.Min(last, end) - start + 1)).Clear();
    }
}

using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>Reaching into an address space that no vCPU of ours need be running: other processes, debuggers, the loader.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Takes a reference to the page that maps an address, faulting it in as an access would (get_user_pages).</summary>
    public FaultOutcome GetPage(Task? task, ulong address, FaultFlags flags, out Pfn frame)
    {
        while (true)
        {
            frame = default;
            ulong* entry = null;
            LockRead(task);
            // The VMA is looked at each time: entries alone do not say whether a forced access is allowed.
            Vma? vma = Vmas.Find(address);
            bool allowed = vma is not null && Allows(vma, flags);
            if (allowed)
            {
                using (PageTableLock.Enter(task))
                {
                    entry = Tables.Find(address, out int level);
                    ulong value = entry is null ? 0 : Volatile.Read(ref *entry);
                    if (PageTables.IsMapped(value) && ((flags & FaultFlags.Write) == 0 || (value & (ulong)Pte.Writable) != 0))
                    {
                        frame = PageTables.FrameOf(value, address, level);
                        Pages.Get(frame);
                        if ((flags & FaultFlags.Write) != 0)
                            PageTables.Modify(entry, Pte.None, Pte.Dirty | Pte.Accessed);
                        UnlockRead();
                        return FaultOutcome.Done;
                    }
                }
                if ((flags & (FaultFlags.Force | FaultFlags.Write)) == (FaultFlags.Force | FaultFlags.Write) && (vma!.Flags & VmFlags.Write) == 0)
                {
                    FaultOutcome forced = BreakCow(task, vma, address & ~0xFFFUL, out frame);
                    UnlockRead();
                    return forced;
                }
            }
            UnlockRead();
            FaultOutcome outcome = HandleFault(task, address, flags);
            if (outcome != FaultOutcome.Done)
                return outcome;
        }
    }

    /// <summary>A forced write to a read-only private mapping: the page is made private first, and stays read-only for the program.</summary>
    private FaultOutcome BreakCow(Task? task, Vma vma, ulong address, out Pfn frame)
    {
        frame = default;
        for (int attempt = 0; ; attempt++)
        {
            SplitHuge(task, address);
            ulong* entry = Tables.Find(address);
            ulong value = entry is null ? 0 : Volatile.Read(ref *entry);
            if (PageTables.IsMapped(value))
            {
                using (PageTableLock.Enter(task))
                {
                    Pfn present = PageTables.FrameOf(value);
                    if (IsUnchanged(entry, value) && (Pages[present].Flags & PageFlags.Anon) != 0 && Pages[Pages.HeadOf(present)].RefCount == 1)
                    {
                        Pages.Get(present);
                        frame = present;
                        return FaultOutcome.Done;
                    }
                }
            }
            FaultOutcome outcome = FaultIn(task, vma, address, FaultFlags.Write);
            if (outcome != FaultOutcome.Done)
                return outcome;
        }
    }

    /// <summary>Copies out of the address space; returns the bytes copied before the first page that cannot be read.</summary>
    public int ReadMemory(Task? task, ulong address, Span<byte> buffer, bool force = false) =>
        Access(task, address, buffer, FaultFlags.Remote | (force ? FaultFlags.Force : 0));

    /// <summary>Copies into the address space; returns the bytes copied before the first page that cannot be written.</summary>
    public int WriteMemory(Task? task, ulong address, ReadOnlySpan<byte> data, bool force = false)
    {
        fixed (byte* bytes = data)
            return Access(task, address, new Span<byte>(bytes, data.Length), FaultFlags.Remote | FaultFlags.Write | (force ? FaultFlags.Force : 0));
    }

    private int Access(Task? task, ulong address, Span<byte> buffer, FaultFlags flags)
    {
        int done = 0;
        while (done < buffer.Length)
        {
            ulong at = address + (ulong)done;
            if (at < address || GetPage(task, at, flags, out Pfn frame) != FaultOutcome.Done)
                break;
            int inPage = (int)(at & 0xFFF);
            Span<byte> part = buffer.Slice(done, Math.Min(buffer.Length - done, 4096 - inPage));
            var page = new Span<byte>(Pages.Memory.Pointer(frame) + inPage, part.Length);
            if ((flags & FaultFlags.Write) != 0)
            {
                Pages.Memory.BeforeWrite(frame);
                part.CopyTo(page);
                PageAllocator.SetFlags(ref Pages[frame], PageFlags.Dirty);
            }
            else
            {
                page.CopyTo(part);
            }
            PageAllocator.MarkAccessed(ref Pages[frame]);
            Pages.Put(frame);
            done += part.Length;
        }
        return done;
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>How pages are taken (include/linux/mm_types.h, FOLL_*).</summary>
[Flags]
public enum FollFlags
{
    None = 0,
    /// <summary>The caller will write to the pages.</summary>
    Write = 1 << 0,
    /// <summary>A debugger's access: what may be made readable or writable counts as such.</summary>
    Force = 1 << 1,
    /// <summary>Take what is present only.</summary>
    NoFault = 1 << 2,
    /// <summary>A pin that may last for as long as the program likes.</summary>
    Longterm = 1 << 3,
}

/// <summary>get_user_pages and pin_user_pages (mm/gup.c): the only ways to take pages out of an address space.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>
    /// Takes a reference to each page of a range. That keeps the frame, not its place: a later fork or write may give the address space
    /// another one.
    /// </summary>
    /// <param name="task">The caller; need not run in this address space.</param>
    /// <param name="address">Where the first page is.</param>
    /// <param name="flags">What for; not <see cref="FollFlags.Longterm"/>, which is for pins.</param>
    /// <param name="pages">The pages, each given back by <see cref="PageAllocator.Put"/>; the length says how many are wanted.</param>
    /// <returns>How many were taken before the first that could not be; -EFAULT or -ENOMEM if none.</returns>
    public int GetUserPages(Task? task, ulong address, FollFlags flags, Span<Pfn> pages) =>
        TakePages(task, address, flags & ~FollFlags.Longterm, pages, pin: false);

    /// <summary>
    /// As <see cref="GetUserPages"/>, but pinned: the data may be accessed by whoever has the frame, and what is mapped at the address stays
    /// that frame, over forks and writes too. Given back by <see cref="UnpinUserPages"/>.
    /// </summary>
    public int PinUserPages(Task? task, ulong address, FollFlags flags, Span<Pfn> pages) => TakePages(task, address, flags, pages, pin: true);

    /// <summary>Gives pinned pages back; <paramref name="dirty"/>: they were written to (unpin_user_pages_dirty_lock).</summary>
    public void UnpinUserPages(ReadOnlySpan<Pfn> pages, bool dirty)
    {
        foreach (Pfn frame in pages)
        {
            if (frame == Pages.Zero)
                continue;
            Pfn head = Pages.HeadOf(frame);
            if (dirty)
                PageAllocator.SetFlags(ref Pages[head], PageFlags.Dirty);
            Interlocked.Add(ref Pages[head].RefCount, -(Page.PinBias - 1));
            Pages.Put(head);
        }
    }

    private int TakePages(Task? task, ulong address, FollFlags flags, Span<Pfn> pages, bool pin)
    {
        LockRead(task);
        int taken = TakePagesLocked(task, address, flags, pages, pin);
        UnlockRead();
        return taken;
    }

    /// <summary>As <see cref="TakePages"/>; the caller holds the mmap lock.</summary>
    private int TakePagesLocked(Task? task, ulong address, FollFlags flags, Span<Pfn> pages, bool pin)
    {
        address &= ~0xFFFUL;
        int taken = 0, error = 0;
        // Before the first pin: fork looks at it with the mmap lock held for writing (mm_set_has_pinned_flag).
        _hasPinned |= pin;
        Vma? vma = null;
        while (taken < pages.Length)
        {
            ulong at = address + ((ulong)taken << Pfn.Shift);
            if (vma is null || !vma.Contains(at))
            {
                vma = Vmas.Find(at);
                if (vma is null || !MayTake(vma, flags))
                {
                    error = -Errno.EFAULT;
                    break;
                }
            }
            if (vma.IsContainer)
            {
                int shared = TakeSharedPages(task, vma, at, flags, pages[taken..], pin);
                if (shared <= 0)
                {
                    error = shared;
                    break;
                }
                taken += shared;
                continue;
            }
            if (TryFollow(task, vma, at, flags, pin, out pages[taken], out FaultFlags needed))
            {
                taken++;
                continue;
            }
            error = (flags & FollFlags.NoFault) != 0 ? -Errno.EFAULT : FaultIn(task, vma, at, needed) switch
            {
                FaultOutcome.Done => 0,
                FaultOutcome.OutOfMemory => -Errno.ENOMEM,
                _ => -Errno.EFAULT,
            };
            if (error < 0)
                break;
        }
        return taken > 0 ? taken : error;
    }

    /// <summary>check_vma_flags.</summary>
    private static bool MayTake(Vma vma, FollFlags flags)
    {
        if ((vma.Flags & (VmFlags.Io | VmFlags.PfnMap)) != 0)
            return false;
        bool force = (flags & FollFlags.Force) != 0;
        if ((flags & FollFlags.Write) == 0)
            return (vma.Flags & VmFlags.Read) != 0 || (force && (vma.Flags & VmFlags.MayRead) != 0);
        // Writing through a long pin behind the back of a file that wants to know of writes loses data (writable_file_mapping_allowed).
        if ((flags & FollFlags.Longterm) != 0 && vma.IsShared && vma.Cache is { NeedsWriteBack: true })
            return false;
        // A forced write must not reach the file behind a shared mapping.
        return (vma.Flags & VmFlags.Write) != 0 || (force && vma.IsCow);
    }

    /// <summary>Takes the page of an entry that is fit for it (follow_page_pte); false: the fault that would make it so.</summary>
    private bool TryFollow(Task? task, Vma vma, ulong address, FollFlags flags, bool pin, out Pfn frame, out FaultFlags needed)
    {
        bool write = (flags & FollFlags.Write) != 0;
        frame = default;
        needed = FaultFlags.Remote | (write ? FaultFlags.Write : FaultFlags.Read);
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.Find(address, out int level);
            ulong value = entry is null ? 0 : Volatile.Read(ref *entry);
            if (!PageTables.IsMapped(value))
                return false;
            Pfn mapped = PageTables.FrameOf(value, address, level);
            // Of a leaf the first frame says whether it is exclusive.
            ref Page page = ref Pages[level > 0 ? Pages.HeadOf(mapped) : mapped];
            bool writable = (value & (ulong)Pte.Writable) != 0;
            if (write && !writable && !CanForceWrite(vma, flags, page))
                return false;
            if (!writable && pin && MustUnshare(vma, flags, page))
            {
                needed = FaultFlags.Remote | FaultFlags.Unshare;
                return false;
            }
            Take(mapped, pin);
            // The caller's stores set no dirty bit (follow_page_pte with FOLL_TOUCH).
            if (write && (value & (ulong)Pte.Dirty) == 0)
                PageAllocator.SetFlags(ref Pages[Pages.HeadOf(mapped)], PageFlags.Dirty);
            frame = mapped;
            return true;
        }
    }

    /// <summary>can_follow_write_pte: a forced write goes to a private copy, which the program still sees read-only.</summary>
    private static bool CanForceWrite(Vma vma, FollFlags flags, in Page page) =>
        (flags & FollFlags.Force) != 0 && vma.IsCow && (vma.Flags & VmFlags.Write) == 0 && page.IsAnonExclusive;

    /// <summary>
    /// Whether a read-only pin would lose touch with the page (gup_must_unshare): a write of this address space would copy a shared
    /// anonymous page, and for a long pin also a file's page in a private mapping.
    /// </summary>
    private static bool MustUnshare(Vma vma, FollFlags flags, in Page page)
    {
        if ((flags & FollFlags.Write) != 0)
            return false;
        return page.IsAnon ? !page.IsAnonExclusive : (flags & FollFlags.Longterm) != 0 && vma.IsCow;
    }

    /// <summary>try_grab_folio; pins of the page of zeroes are not counted, for it is never freed nor copied early.</summary>
    private void Take(Pfn frame, bool pin)
    {
        if (!pin)
            Pages.Get(frame);
        else if (frame != Pages.Zero)
            Interlocked.Add(ref Pages[Pages.HeadOf(frame)].RefCount, Page.PinBias);
    }
}

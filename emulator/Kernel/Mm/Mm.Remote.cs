using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What was at an address where a remote page is mapped (stat_* of the RFC).</summary>
internal enum RemoteReplaced
{
    Empty,
    Mapped,
    Swap,
    /// <summary>Somebody faulted in between.</summary>
    Refault,
}

/// <summary>Anonymous pages of another address space in this one (mm/remote_mapping.c of the RFC "mm: add support for remote mapping", v6).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Puts a page in the place of what is mapped at an address (mm_remote_remap). The caller holds the page, which has <see cref="PageFlags.Remote"/>.</summary>
    /// <param name="task">The caller.</param>
    /// <param name="address">Of a page.</param>
    /// <param name="remote">The page.</param>
    /// <param name="checksBounds">Find the VMA of the address; otherwise the first one that ends behind it, as the RFC does.</param>
    /// <param name="replaced">Counts what was there.</param>
    /// <returns>0; -ENOENT: no VMA; -EINVAL: not one of anonymous memory; -EFAULT: it has no table there yet.</returns>
    internal int MapRemotePage(Task? task, ulong address, RemotePage remote, bool checksBounds, Action<RemoteReplaced> replaced)
    {
        using var scope = EnterRead(task);
        Vma? vma = checksBounds ? Vmas.Find(address) : Vmas.FindEndingAfter(address);
        if (vma is null)
            return -Errno.ENOENT;
        if (!vma.IsAnonymous)
            return -Errno.EINVAL;
        PrepareAnonVma(task, vma);
        // A child of fork gets a copy of the page at once.
        _hasPinned = true;
        while (true)
        {
            SplitHuge(task, address);
            ulong* entry;
            ulong old;
            using (PageTableLock.Enter(task))
            {
                entry = Tables.Find(address);
                if (entry is null)
                    return -Errno.EFAULT;
                old = Volatile.Read(ref *entry);
            }
            if (SwapEntry.TryDecode(old, out SwapEntry swap) && swap.IsMigration)
            {
                _system.PageLocks.WaitForEntry(task, swap.Frame, entry, old);
                continue;
            }
            if (old != 0)
                ZapRange(task, vma, address, address + Pfn.Size);
            replaced(old == 0 ? RemoteReplaced.Empty : PageTables.IsMapped(old) ? RemoteReplaced.Mapped : RemoteReplaced.Swap);
            if (TryInstallRemote(task, vma, address, remote))
                return 0;
            replaced(RemoteReplaced.Refault);
        }
    }

    /// <summary>mm_remote_install_pte. False: something is mapped there again.</summary>
    private bool TryInstallRemote(Task? task, Vma vma, ulong address, RemotePage remote)
    {
        using var scope = PageTableLock.Enter(task);
        ulong* entry = Tables.Find(address);
        if (entry is null || *entry != 0)
            return false;
        bool writable = (vma.Flags & VmFlags.Write) != 0;
        Pages.Get(remote.Frame);
        Map(remote.Frame);
        remote.AnonVma = vma.AnonVma;
        remote.Address = address;
        NotifyChangePte(task, address, remote.Frame, writable);
        PageTables.Set(entry, remote.Frame.Address | (ulong)(BitsOf(vma.Flags) | (writable ? WriteBits(vma) : Pte.None)));
        return true;
    }

    /// <summary>Takes a remote page out again (mm_remote_do_unmap). False: it is not there any more.</summary>
    internal bool UnmapRemotePage(Task? task, RemotePage remote)
    {
        using var scope = EnterRead(task);
        ulong address = remote.Address;
        bool found = false;
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            FlushTlbBatchedPending(task);
            ulong* entry = EntryMapping(address, remote.Frame);
            if (entry is not null)
            {
                PageTables.Clear(entry, out _);
                Shootdown.FlushPage(task?.Vcpu, this, address);
                NotifyInvalidateRange(task, address, address + Pfn.Size);
                Unmap(remote.Frame);
                found = true;
            }
        }
        InvalidateRangeEnd(task, range);
        if (found)
            PutPage(remote.Frame);
        return found;
    }

    /// <summary>Whether the address maps a frame now (follow_page).</summary>
    internal bool MapsFrame(Task? task, ulong address, Pfn frame)
    {
        using var scope = EnterRead(task);
        using var tables = PageTableLock.Enter(task);
        return EntryMapping(address, frame) is not null;
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Sharing by equal top-level entries. A container's entries are copies of its host's, made by faults; each copy holds a reference to the
/// table it names. Locks: the sharer's mmap lock, then the host's, whose class is its own.
/// </summary>
/// <remarks>In bounds: a container lies below the top of user memory and inside its region, both in units of a top-level entry, so neither address wraps.</remarks>
public sealed unsafe partial class Mm
{
    /// <summary>What a top-level entry translates, and with it the unit of sharing (PGDIR_SIZE).</summary>
    internal const ulong TopSize = 1UL << 39;

    /// <summary>Makes the address space of a shared region; null when memory is exhausted.</summary>
    internal static Mm? CreateHost(MemorySystem system, bool leaky)
    {
        if (PageTables.Create(system.Pages, null) is not { } tables)
            return null;
        var host = new Mm(system, tables, leaky ? LockClass.MmapLock : LockClass.HostMmapLock);
        _ = new SharedTables(host, leaky);
        return host;
    }

    /// <summary>The host's side of an address in a container, with the host's mmap lock held for reading: the one way to what a container shows.</summary>
    internal readonly ref struct HostScope
    {
        private readonly Task? _task;

        public HostScope(Task? task, Vma container, ulong address)
        {
            _task = task;
            Mm = container.Shares!.Host;
            Address = (container.IndexOf(address) << Pfn.Shift) + (address & (Pfn.Size - 1));
            Mm.LockRead(task);
            if (task is not null)
                task.HostsLocked++;
            Vma = Mm.Vmas.Find(Address);
        }

        public Mm Mm { get; }

        public ulong Address { get; }

        /// <summary>What is mapped there in the host, if anything is.</summary>
        public Vma? Vma { get; }

        public void Dispose()
        {
            if (_task is not null)
                _task.HostsLocked--;
            Mm.UnlockRead();
        }
    }

    /// <summary>A fault in a container: the container allows the access, the host's mapping must as well. Serves it there, and links.</summary>
    private FaultOutcome FaultContainer(Task? task, Vma container, ulong address, FaultFlags flags)
    {
        using var host = new HostScope(task, container, address);
        if (container.Shares!.IsLeaky && LinkLoosely(task, container, address, host))
            return FaultOutcome.Done;
        if (host.Vma is not { } vma)
            return FaultOutcome.NotMapped;
        if (!Allows(vma, flags))
            return FaultOutcome.Forbidden;
        FaultOutcome outcome = host.Mm.FaultIn(task, vma, host.Address & ~0xFFFUL, flags);
        if (outcome == FaultOutcome.Done && !container.Shares.IsLeaky)
            Link(task, container, address, host);
        return outcome;
    }

    /// <summary>Copies the host's top-level entry, less the rights that the container does not give.</summary>
    private void Link(Task? task, Vma container, ulong address, in HostScope host)
    {
        // It stays, since the host keeps its upper tables as long as it lives; there is none where a fault found something on its way elsewhere.
        ulong entry = host.Mm.Tables.TopEntry(host.Address);
        if (entry == 0 || Tables.TopEntry(address) != 0)
            return;
        using (PageTableLock.Enter(task))
        {
            // Who holds links takes them away under this lock afterwards.
            if (Tables.TopEntry(address) != 0 || Volatile.Read(ref container.Shares!.LinksHeld) > 0)
                return;
            Pages.Get(PageTables.FrameOf(entry));
            Tables.SetLink(address, entry, Withheld(container.Flags), loose: false);
        }
    }

    private static Pte Withheld(VmFlags flags) =>
        ((flags & VmFlags.Write) == 0 ? Pte.Writable : Pte.None) | ((flags & VmFlags.Exec) == 0 ? Pte.NoExecute : Pte.None);

    /// <summary>Undoes the links of a container; the gather flushes, and then gives up the references. In the variant they stay.</summary>
    private void Unlink(MmuGather gather, Task? task, Vma container)
    {
        if (container.Shares!.IsLeaky)
            return;
        for (ulong at = container.Start; at < container.End; at += TopSize)
        {
            Pfn table;
            using (PageTableLock.Enter(task))
                table = Tables.ClearLink(at);
            if (table != default)
                gather.AddLink(table, at, at + TopSize);
        }
    }

    /// <summary>Takes away, for a while, what links of [start, end) there are, and makes every vCPU forget what it reached through them.</summary>
    /// <returns>How many.</returns>
    internal int CutLinks(Task? task, ulong start, ulong end)
    {
        // The list may be an old one: an address space without a root has undone and flushed its links.
        if (!TryGetContext())
            return 0;
        int cut = 0;
        MmuGather? gather = null;
        for (ulong at = start & ~(TopSize - 1); at < end; at += TopSize)
        {
            using (PageTableLock.Enter(task))
            {
                bool linked = PageTables.IsLink(Tables.TopEntry(at));
                // Who took a link away just now may not have flushed yet, and our caller frees what is cached through it (mm_tlb_flush_pending).
                if (!linked && Volatile.Read(ref TlbFlushPending) == (gather is null ? 0 : 1))
                    continue;
                gather ??= new MmuGather(this, task);
                if (!linked)
                {
                    gather.AddRange(at, at + TopSize);
                    continue;
                }
                gather.AddLink(Tables.ClearLink(at), at, at + TopSize);
                cut++;
            }
        }
        gather?.Finish();
        PutContext();
        return cut;
    }

    /// <summary>A container's permissions have changed: its links are made anew, with the new rights.</summary>
    private void Relink(Task? task, Vma container)
    {
        using OperationScope operation = task.Operation("mprotect", container.Start, container.End);
        var gather = new MmuGather(this, task);
        var range = new MmuNotifierRange(this, container.Start, container.End, MmuNotifyEvent.ProtectionVma);
        InvalidateRangeStart(task, range);
        Unlink(gather, task, container);
        InvalidateRangeEnd(task, range);
        gather.Finish();
    }
}

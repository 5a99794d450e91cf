using System.Runtime.CompilerServices;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// An address space (Linux's <c>mm_struct</c>): its VMAs, its page tables and its bounds. Every operation that may fail returns a
/// negative errno, and those of Linux in Linux's order.
/// </summary>
/// <remarks>
/// Locks, outermost first: <see cref="MmapLock"/> (VMAs; faults read, changes write), the page's, <see cref="PageCache.MappingsLock"/>,
/// that of the root <see cref="AnonVma"/>, <see cref="PageTableLock"/> (entries). User memory must not be touched while the mmap lock is held: the fault would take it again.
/// In bounds: a pointer to an entry comes from <see cref="Tables"/> and is good while the mmap lock, or a lock of the reverse map, keeps the tables; runs of entries end with
/// their table. Addresses are the guest's, and become indices of 9 bits; frames come from entries and are checked where they become pointers.
/// </remarks>
public sealed partial class Mm
{
    private readonly MemorySystem _system;
    private int _users = 1;
    private int _contexts = 1;

    private Mm(MemorySystem system, PageTables tables, LockClass? lockClass = null)
    {
        MmapLock = new RwSemaphore(lockClass ?? LockClass.MmapLock);
        _system = system;
        Vmas = new VmaTree(system.KernelMemory);
        Tables = tables;
        Context = system.Shootdown.NewContext();
        system.Add(this);
    }

    internal RwSemaphore MmapLock { get; }

    internal SpinLock PageTableLock { get; } = new(LockClass.PageTableLock);

    internal VmaTree Vmas { get; }

    internal PageTables Tables { get; }

    internal PageAllocator Pages => _system.Pages;

    internal TlbShootdown Shootdown => _system.Shootdown;

    /// <summary>Gathers in flight (tlb_flush_pending).</summary>
    internal int TlbFlushPending;

    /// <summary>What this address space is to TLBs.</summary>
    public MmContext Context { get; }

    /// <summary>The root page table's frame: CR3.</summary>
    public Pfn Root => Tables.Root;

    /// <summary>Where top-down placement begins, below the stack's largest extent.</summary>
    public ulong MmapBase { get; internal set; } = Layout.StackTop - (128 << 20) & ~0xFFFUL;

    public ulong StartBrk { get; internal set; }

    /// <summary>The end of the heap, not page-aligned.</summary>
    public ulong CurrentBrk { get; internal set; }

    public ulong StartCode { get; internal set; }
    public ulong EndCode { get; internal set; }
    public ulong StartData { get; internal set; }
    public ulong EndData { get; internal set; }
    public ulong StartStack { get; internal set; }
    public ulong ArgStart { get; internal set; }
    public ulong ArgEnd { get; internal set; }
    public ulong EnvStart { get; internal set; }
    public ulong EnvEnd { get; internal set; }

    /// <summary>The program's file, with a reference: /proc/PID/exe.</summary>
    public OpenFile? ExecutableFile { get; internal set; }

    /// <summary>The auxiliary vector as the program found it, for /proc/PID/auxv.</summary>
    public byte[] AuxiliaryVector { get; internal set; } = [];

    /// <summary>Where the vDSO is mapped, or 0.</summary>
    public ulong VdsoBase { get; internal set; }

    /// <summary>Pages mapped, by VMAs, whether present or not; and of them the private writable ones, the stack's, the locked ones.</summary>
    public ulong TotalPages { get; private set; }
    public ulong DataPages { get; private set; }
    public ulong StackPages { get; private set; }
    public ulong ExecPages { get; private set; }
    public ulong LockedPages { get; private set; }
    public ulong PeakPages { get; private set; }

    /// <summary>Present pages by kind; changed under <see cref="PageTableLock"/>.</summary>
    public long AnonPages { get; private set; }
    public long FilePages { get; private set; }
    public long ShmemPages { get; private set; }
    /// <summary>Entries that name a slot of the swap area.</summary>
    public long SwapEntries { get; internal set; }
    public long ResidentPages => AnonPages + FilePages + ShmemPages;
    public long PeakResidentPages { get; private set; }

    /// <summary>Bytes of page tables.</summary>
    public long TableBytes => (Tables.TableCount + 1) << 12;

    public int MapCount => Vmas.Count;

    /// <summary>Of a host address space: who shares its tables. Null for all others.</summary>
    public SharedTables? Sharing { get; internal set; }

    /// <summary>Flags that mlockall(MCL_FUTURE) gives to new mappings.</summary>
    internal VmFlags DefaultFlags { get; set; }

    /// <summary>Makes an empty address space with one user; null when memory is exhausted.</summary>
    public static Mm? Create(MemorySystem system, Task? task = null)
    {
        PageTables? tables;
        while ((tables = PageTables.Create(system.Pages, system.KernelTables)) is null)
        {
            if (!system.Reclaim.MakeRoom(task))
                return null;
        }
        return new Mm(system, tables);
    }

    /// <summary>Counts one more user (thread group, or somebody who looks into it) and returns this.</summary>
    public Mm Get()
    {
        Interlocked.Increment(ref _users);
        return this;
    }

    /// <summary>Counts one more user unless the address space is being torn down (mmget_not_zero).</summary>
    public bool TryGet()
    {
        while (true)
        {
            int users = Volatile.Read(ref _users);
            if (users == 0)
                return false;
            if (Interlocked.CompareExchange(ref _users, users + 1, users) == users)
                return true;
        }
    }

    /// <summary>Drops a user; the last one tears everything down (mmput).</summary>
    public void Put(Task? task)
    {
        if (Interlocked.Decrement(ref _users) != 0)
            return;
        TearDown(task);
        PutContext();
    }

    public int Users => Volatile.Read(ref _users);

    /// <summary>Keeps the root table while a vCPU has it loaded (mmgrab).</summary>
    internal void GetContext() => Interlocked.Increment(ref _contexts);

    /// <summary>As <see cref="GetContext"/>, unless the root table is gone.</summary>
    internal bool TryGetContext()
    {
        while (true)
        {
            int contexts = Volatile.Read(ref _contexts);
            if (contexts == 0)
                return false;
            if (Interlocked.CompareExchange(ref _contexts, contexts + 1, contexts) == contexts)
                return true;
        }
    }

    internal void PutContext()
    {
        if (Interlocked.Decrement(ref _contexts) == 0)
            Tables.FreeRoot();
    }

    /// <summary>exit_mmap.</summary>
    private void TearDown(Task? task)
    {
        using OperationScope operation = task.Operation("exit_mmap");
        Volatile.Read(ref Notifiers)?.Release(task);
        Sharing?.GiveUpOwnership();
        Tables.KeepsTopTables = false;
        LockWrite(task);
        var closed = new List<Vma>();
        for (Vma? vma = Vmas.First; vma is not null; vma = Vmas.Next(vma))
            closed.Add(vma);
        var gather = new MmuGather(this, task, fullMm: true);
        var range = new MmuNotifierRange(this, 0, ulong.MaxValue, MmuNotifyEvent.Unmap);
        InvalidateRangeStart(task, range);
        foreach (Vma vma in closed)
            Zap(gather, task, vma, vma.Start, vma.End);
        InvalidateRangeEnd(task, range);
        foreach (Vma vma in closed)
        {
            Vmas.Remove(vma);
            UnlinkRmap(task, vma);
        }
        Tables.FreeTables(gather, 0, Layout.TaskSize, 0, Layout.TaskSize + 0x1000);
        gather.Finish();
        DetachContainers(task, closed);
        PassOwnership(task);
        foreach (Vma vma in closed)
        {
            Account(vma, vma.Pages, add: false);
            Close(vma);
        }
        ExecutableFile?.Put();
        OomSkip = true;
        UnlockWrite();
        PutKeptHosts(task);
        _system.Remove(this);
    }

    /// <summary>Holds the mmap lock for reading as long as the scope lives: VMAs stay, faults go on.</summary>
    public RwSemaphore.ReadScope EnterRead(Task? task) => MmapLock.EnterRead(task);

    internal void LockRead(Task? task, int subclass = 0, [CallerMemberName] string where = "") => MmapLock.LockRead(task, subclass, where);

    internal void LockWrite(Task? task, int subclass = 0, [CallerMemberName] string where = "") => MmapLock.LockWrite(task, subclass, where);

    internal void UnlockRead() => MmapLock.UnlockRead();

    internal void UnlockWrite() => MmapLock.UnlockWrite();

    /// <summary>The limit of the caller's process; none without a caller.</summary>
    private static ulong Limit(Task? task, int resource) => task?.Process.Limits[resource].Current ?? ResourceLimit.Infinity;

    private static bool IsData(VmFlags flags) => (flags & (VmFlags.Write | VmFlags.Shared | VmFlags.GrowsDown)) == VmFlags.Write;

    private static bool IsExec(VmFlags flags) => (flags & (VmFlags.Exec | VmFlags.Write | VmFlags.GrowsDown)) == VmFlags.Exec;

    /// <summary>Whether RLIMIT_AS and RLIMIT_DATA allow more pages (mm/mmap.c:may_expand_vm).</summary>
    private bool MayExpand(Task? task, VmFlags flags, ulong pages)
    {
        if (TotalPages + pages > Limit(task, ResourceLimits.AS) >> 12)
            return false;
        if (!IsData(flags) || DataPages + pages <= Limit(task, ResourceLimits.DATA) >> 12)
            return true;
        // A limit of zero is what tools set that mean something else by it: the hard limit counts then.
        return Limit(task, ResourceLimits.DATA) == 0 && DataPages + pages <= task!.Process.Limits[ResourceLimits.DATA].Maximum >> 12;
    }

    private void Account(Vma vma, ulong pages, bool add) => Account(vma.Flags, pages, add);

    private void Account(VmFlags flags, ulong pages, bool add)
    {
        ulong delta = add ? pages : 0 - pages;
        TotalPages += delta;
        if (IsExec(flags))
            ExecPages += delta;
        else if ((flags & VmFlags.GrowsDown) != 0)
            StackPages += delta;
        else if (IsData(flags))
            DataPages += delta;
        if ((flags & VmFlags.Locked) != 0)
            LockedPages += delta;
        if ((flags & VmFlags.Account) != 0)
            _system.Overcommit.Add((long)delta);
        PeakPages = Math.Max(PeakPages, TotalPages);
    }

    /// <summary>Counts a page that an entry maps now, or no longer. Under the page-table lock.</summary>
    private void CountResident(PageFlags flags, int delta)
    {
        if ((flags & PageFlags.Anon) != 0)
            AnonPages += delta;
        else if ((flags & PageFlags.SwapBacked) != 0)
            ShmemPages += delta;
        else
            FilePages += delta;
        if (delta > 0 && ResidentPages > PeakResidentPages)
            PeakResidentPages = ResidentPages;
    }
}

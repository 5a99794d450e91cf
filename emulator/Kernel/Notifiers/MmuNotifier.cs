using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Notifiers;

/// <summary>The callbacks that a notifier has: which fields of Linux's <c>struct mmu_notifier_ops</c> are not null.</summary>
[Flags]
public enum MmuNotifierOps
{
    None = 0,
    Release = 1,
    ClearFlushYoung = 2,
    ClearYoung = 4,
    TestYoung = 8,
    InvalidateRangeStart = 16,
    InvalidateRangeEnd = 32,

    /// <summary>Excludes the two above: see <see cref="MmuNotifier.ArchInvalidateSecondaryTlbs"/>.</summary>
    ArchInvalidateSecondaryTlbs = 64,

    /// <summary>Until 6.9: see <see cref="MmuNotifier.ChangePte"/>.</summary>
    ChangePte = 128,

    /// <summary>Proposed in July 2023 and never merged: see <see cref="MmuNotifier.UpdateMapping"/>.</summary>
    UpdateMapping = 256,
}

/// <summary>
/// What a secondary MMU hears of an address space (<c>struct mmu_notifier</c>). It comes in two kinds that exclude each other. A
/// <em>shadow</em> keeps translations that software put there: it drops them at <see cref="InvalidateRangeStart"/> and takes none until
/// <see cref="InvalidateRangeEnd"/>. A <em>walker</em> reads the CPU's own tables at any time and caches what it finds: for it these two come
/// too early and too late, and it must flush where the CPUs do, in <see cref="ArchInvalidateSecondaryTlbs"/>.
/// </summary>
/// <remarks>
/// All callbacks of a machine run under one sleepable RCU; <see cref="Unregister"/> waits for it. They are told the task that causes the
/// change, if a task does, which they need to take locks.
/// </remarks>
public abstract class MmuNotifier
{
    /// <summary>The callbacks that this notifier overrides; the others are never called. Must not change while registered.</summary>
    public abstract MmuNotifierOps Ops { get; }

    /// <summary>The address space it is registered with, or was until it ended; null before <see cref="Register"/> and after <see cref="Unregister"/>.</summary>
    public Mm? Mm { get; internal set; }

    /// <summary>Whether callbacks are delivered: false once <see cref="Release"/> was called.</summary>
    public bool IsListed { get; internal set; }

    /// <summary>Users of a notifier that came from <see cref="Get"/>; under the subscriptions' lock.</summary>
    internal int Users { get; set; }

    /// <summary>
    /// The address space ends, or the notifier is unregistered: every translation must go, and none may be made from now on. Called once, before
    /// any page is freed; may sleep; other callbacks may run at the same time.
    /// </summary>
    public virtual void Release(Task? task, Mm mm)
    {
    }

    /// <summary>The CPU's accessed bits of [start, end) were tested and cleared: do so with the device's, and flush. Must not sleep.</summary>
    /// <returns>True: the device has used the range since it was last asked.</returns>
    public virtual bool ClearFlushYoung(Task? task, Mm mm, ulong start, ulong end) => false;

    /// <summary>As <see cref="ClearFlushYoung"/>, but the flush may be left out. Must not sleep.</summary>
    public virtual bool ClearYoung(Task? task, Mm mm, ulong start, ulong end) => false;

    /// <summary>Whether the device has used a page; the first yes ends the round. Must not sleep.</summary>
    public virtual bool TestYoung(Task? task, Mm mm, ulong address) => false;

    /// <summary>Entries of the range are about to change. Runs under the mmap lock or locks of the reverse map, never under a page-table lock.</summary>
    /// <returns>0; or, if the range is not blockable and the answer would take sleeping, -EAGAIN: then the change does not take place.
    /// A notifier that may answer so must not have <see cref="MmuNotifierOps.InvalidateRangeEnd"/>.</returns>
    public virtual int InvalidateRangeStart(Task? task, in MmuNotifierRange range) => 0;

    /// <summary>The entries have changed. Frames they mapped may be free already, or only be freed later.</summary>
    public virtual void InvalidateRangeEnd(Task? task, in MmuNotifierRange range)
    {
    }

    /// <summary>
    /// CPUs' TLBs forget [start, end), and so must the device's. May run under a page-table lock: must not sleep.
    /// Everything is (0, <see cref="ulong.MaxValue"/>), so do not compute with <paramref name="end"/> before looking for that. Called
    /// <c>invalidate_range</c> before Linux 6.6, and then from other places.
    /// </summary>
    public virtual void ArchInvalidateSecondaryTlbs(Task? task, Mm mm, ulong start, ulong end)
    {
    }

    /// <summary>
    /// A page-table entry is replaced by one for another page, between the start and the end of its change: a shadow may take it over at once.
    /// Under the page-table lock: must not sleep. Called under <see cref="KernelProfile.V6_1"/> only.
    /// </summary>
    public virtual void ChangePte(Task? task, Mm mm, ulong address, Pfn frame, bool writable)
    {
    }

    /// <summary>
    /// A fault of this address space is about to map a page of shmem, or has mapped one of hugetlb (the RFC "Add a new notifier for mapping updates"). The entry
    /// is not there yet, no page-table lock is held, pages that are mapped along are not told of, and nobody hears of it who looks at another address space.
    /// </summary>
    public virtual void UpdateMapping(Task? task, Mm mm, ulong address, Pfn frame)
    {
    }

    /// <summary>Registers with an address space (mmu_notifier_register). The caller holds no lock of it and is one of its users.</summary>
    /// <returns>0, or -EINVAL for a combination of callbacks that cannot work.</returns>
    public int Register(Task? task, Mm mm)
    {
        mm.RefuseLockInCallback(task, NotifierRules.NoRegisterInCallback);
        mm.LockWrite(task);
        int error = RegisterLocked(task, mm);
        mm.UnlockWrite();
        return error;
    }

    /// <summary>As <see cref="Register"/>, with the mmap lock held for writing by the caller (__mmu_notifier_register).</summary>
    public int RegisterLocked(Task? task, Mm mm) => NotifierSubscriptions.Register(task, mm, this);

    /// <summary>Ends the registration (mmu_notifier_unregister): calls <see cref="Release"/> if the address space has not ended yet, and returns when no
    /// callback runs any more. Must not be called from a callback.</summary>
    public void Unregister(Task? task) => NotifierSubscriptions.Unregister(task, this);

    /// <summary>
    /// The notifier of a type that an address space has, made and registered if it has none (mmu_notifier_get). Each call is undone by
    /// <see cref="Put"/>. The caller holds no lock of the address space and is one of its users.
    /// </summary>
    /// <returns>0 or a negative errno.</returns>
    public static int Get<TNotifier>(Task? task, Mm mm, Func<TNotifier> make, out TNotifier? notifier)
        where TNotifier : MmuNotifier => NotifierSubscriptions.Get(task, mm, make, out notifier);

    /// <summary>Drops a user of <see cref="Get"/> (mmu_notifier_put). After the last one no new callback begins, and <see cref="Free"/> is called
    /// when those that run have ended; <see cref="Release"/> is not called.</summary>
    public void Put(Task? task) => NotifierSubscriptions.Put(task, this);

    /// <summary>The end of a notifier after <see cref="Put"/> (free_notifier). Must not sleep.</summary>
    public virtual void Free()
    {
    }
}

namespace Emulator.Kernel.Notifiers;

/// <summary>The rules of mmu_notifier.h and mm/mmu_notifier.c that are checked, as reports name them.</summary>
public static class NotifierRules
{
    public const string OneKind =
        "a notifier has arch_invalidate_secondary_tlbs or invalidate_range_start/end, not both: what walks the CPU's tables cannot use the latter";

    public const string UsersWhileRegistering = "the address space has users (mm_users > 0) while a notifier is registered";

    public const string RegisterOnce = "a notifier is registered with one address space at a time";

    public const string EndFollowsStart = "every invalidate_range_start that succeeded is followed by one invalidate_range_end";

    public const string StartMayFailOnlyNonBlockable = "invalidate_range_start returns 0, or -EAGAIN where it must not block";

    public const string FailingStartHasNoEnd = "a notifier whose invalidate_range_start may fail has no invalidate_range_end";

    public const string IntervalMayFailOnlyNonBlockable = "an interval notifier's invalidate returns true, or false where it must not block";

    public const string SequenceIsSet = "mmu_interval_set_seq is called in every invalidate, whatever else it does";

    public const string SequenceIsOdd = "mmu_interval_set_seq is given the sequence number that invalidate was called with";

    public const string NoReadBeginInCallback = "mmu_interval_read_begin waits for the end of the change, so it is not called inside its invalidate callback";

    public const string NoRemoveInCallback =
        "mmu_interval_notifier_remove and mmu_notifier_unregister wait for callbacks to end, so they are not called inside one";

    public const string MustNotSleep = "nothing sleeps where sleeping is forbidden";

    public const string NoFaultOnPunchInCallback =
        "a fault on a page that is being punched out of its file waits for the punch, so no callback of that punch makes one";

    public const string NoRegisterInCallback = "registration takes the mmap lock and all locks of the reverse map, so it is not done inside a callback";

    public const string MmapLockHeld = "the mmap lock is held, for reading at least, while page tables are walked";

    public const string RegisterUnderMmapLock = "the mmap lock is held for writing while a notifier is registered";
}

using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Notifiers;

/// <summary>Why page-table entries are about to change (include/linux/mmu_notifier.h, enum mmu_notifier_event; the values are Linux's).</summary>
public enum MmuNotifyEvent
{
    /// <summary>The mapping itself goes: munmap, exit, the old place of mremap.</summary>
    Unmap = 0,

    /// <summary>Entries are emptied or point to other pages; the mapping stays: a hole, MADV_DONTNEED, a copy on write, reclaim.</summary>
    Clear = 1,

    /// <summary>The permissions of the mapping change: mprotect.</summary>
    ProtectionVma = 2,

    /// <summary>Entries lose write permission, the mapping keeps it: fork, the cleaning of a file's pages.</summary>
    ProtectionPage = 3,

    SoftDirty = 4,

    /// <summary>The address space ends. Sent to interval notifiers only, for everything.</summary>
    Release = 5,

    /// <summary>Pages move to or from a device; <see cref="MmuNotifierRange.Owner"/> tells whose.</summary>
    Migrate = 6,

    /// <summary>Entries become accessible to one device alone, or cease to be.</summary>
    Exclusive = 7,
}

/// <summary>What a change of page tables is about: the same value goes to the start and to the end of one change.</summary>
/// <param name="Mm">The address space.</param>
/// <param name="Start">First byte.</param>
/// <param name="End">First byte behind; <see cref="ulong.MaxValue"/> means to the end of everything.</param>
/// <param name="Event">Why.</param>
/// <param name="Blockable">Callbacks may sleep. Where they may not, they answer -EAGAIN rather than wait.</param>
/// <param name="Owner">Who asked for the change, so that a device can tell its own migrations from those of others.</param>
public readonly record struct MmuNotifierRange(Mm Mm, ulong Start, ulong End, MmuNotifyEvent Event, bool Blockable = true, object? Owner = null)
{
    /// <summary>What changes are a driver's frames (VM_PFNMAP), which no notifier's owner can take: a callback may announce this inside another change.</summary>
    public bool OfDriver { get; init; }

    public override string ToString() => $"{Event} {Start:x}-{End:x}{(Blockable ? "" : ", not blockable")}";
}

using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>What the kernel knows about a vCPU's TLB (Linux's <c>cpu_tlbstate</c>). Written by the vCPU's holder.</summary>
/// <remarks>Invariant: entries tagged with slot k are never older than <c>Slots[k].Generation</c> of the address space named by it.</remarks>
internal sealed class CpuTlbState
{
    /// <summary>TLB_NR_DYN_ASIDS: address spaces whose entries a vCPU keeps at once.</summary>
    public const int SlotCount = 6;

    public struct Slot
    {
        public MmContext? Context;
        public ulong Generation;

        /// <summary>The regions that the address space shared when the slot was last brought up to date, and their generation.</summary>
        public SharedLinks? Links;
        public ulong SharedGeneration;

        /// <summary>Which address space the slot holds; 0: none.</summary>
        public readonly ulong ContextId => Context?.Id ?? 0;

        /// <summary>Whether a change of shared tables has not reached the slot. The same regions can be compared; others are not worth it.</summary>
        public readonly bool IsBehind(SharedLinks? links) => links != Links || (links is not null && links.Generation != SharedGeneration);
    }

    private Mm? _loadedMm;
    private int _lazy;
    private int _switching;
    private int _nextSlot = 1;

    private readonly ulong[] _counts = new ulong[(int)ShootdownCounter.Count];

    public ref ulong this[ShootdownCounter counter] => ref _counts[(int)counter];

    public Slot[] Slots { get; } = new Slot[SlotCount];

    /// <summary>The address space in CR3, or null for the kernel's own.</summary>
    public Mm? LoadedMm => Volatile.Read(ref _loadedMm);

    public int LoadedSlot { get; private set; }

    /// <summary>The vCPU is idle on a borrowed address space.</summary>
    public bool IsLazy => Volatile.Read(ref _lazy) != 0;

    /// <summary>Between two address spaces (LOADED_MM_SWITCHING): it must be interrupted for either.</summary>
    public bool IsSwitching => Volatile.Read(ref _switching) != 0;

    public void EnterLazy() => Volatile.Write(ref _lazy, 1);

    public void LeaveLazy() => Interlocked.Exchange(ref _lazy, 0);

    public void BeginSwitch() => Interlocked.Exchange(ref _switching, 1);

    public void EndSwitch(Mm? loaded, int slot)
    {
        Volatile.Write(ref _loadedMm, loaded);
        LoadedSlot = slot;
        Volatile.Write(ref _switching, 0);
    }

    public int TakeNextSlot()
    {
        int slot = _nextSlot++;
        if (slot < SlotCount)
            return slot;
        _nextSlot = 1;
        return 0;
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Notifiers;

/// <summary>The bits of an entry of <see cref="HmmRange.Pfns"/> (include/linux/hmm.h). Below them is the frame's number.</summary>
[Flags]
public enum HmmPfn : ulong
{
    None = 0,

    /// <summary>The CPU's tables map the page and allow reading it.</summary>
    Valid = 1UL << 63,

    /// <summary>They allow writing it, too.</summary>
    Write = 1UL << 62,

    /// <summary>The page can never be read.</summary>
    Error = 1UL << 61,

    /// <summary>In: make the page present (the same bit as <see cref="Valid"/>).</summary>
    ReqFault = Valid,

    /// <summary>In: make it writable; only together with <see cref="ReqFault"/>.</summary>
    ReqWrite = Write,

    /// <summary>Five bits: log2 of the pages in the mapping that this page is part of.</summary>
    OrderMask = 0x1FUL << HmmRange.OrderShift,

    Flags = 0xFFUL << HmmRange.OrderShift,
}

/// <summary>A question to the page tables: which frames does a range of addresses have (<c>struct hmm_range</c>).</summary>
/// <param name="mm">The address space.</param>
/// <param name="start">First byte, page-aligned.</param>
/// <param name="end">First byte behind, page-aligned.</param>
/// <param name="pfns">One entry for each page: requests in, answers out.</param>
public sealed class HmmRange(Mm mm, ulong start, ulong end, Memory<ulong> pfns)
{
    internal const int OrderShift = 56;

    public Mm Mm { get; } = mm;

    public ulong Start { get; } = start;

    public ulong End { get; } = end;

    /// <summary>One entry for each page. Answers of an earlier call act as requests where <see cref="PfnFlagsMask"/> lets them.</summary>
    public Memory<ulong> Pfns { get; } = pfns;

    /// <summary>The interval notifier whose sequence number decides about -EBUSY; null: none.</summary>
    public MmuIntervalNotifier? Notifier { get; init; }

    /// <summary>What <see cref="MmuIntervalNotifier.ReadBegin"/> gave.</summary>
    public ulong NotifierSequence { get; set; }

    /// <summary>Requests that hold for every page.</summary>
    public HmmPfn DefaultFlags { get; init; }

    /// <summary>Which requests of the entries count.</summary>
    public HmmPfn PfnFlagsMask { get; init; }

    /// <summary>Whose device-private pages are answered as they are, rather than brought back.</summary>
    public object? DevicePrivateOwner { get; init; }

    /// <summary>For scenarios only: every page is faulted in, whether or not it is there (what the udmabuf thread tried on 24 August 2023).</summary>
    internal bool AlwaysFaults { get; init; }

    /// <summary>How often the walk began again after a fault.</summary>
    internal int Restarts;

    public static bool IsValid(ulong entry) => (entry & (ulong)HmmPfn.Valid) != 0;

    public static bool IsWritable(ulong entry) => (entry & (ulong)HmmPfn.Write) != 0;

    public static bool IsError(ulong entry) => (entry & (ulong)HmmPfn.Error) != 0;

    /// <summary>log2 of the pages in the mapping that the page is part of.</summary>
    public static int OrderOf(ulong entry) => (int)((entry & (ulong)HmmPfn.OrderMask) >> OrderShift);

    public static Pfn FrameOf(ulong entry) => new(entry & ~(ulong)HmmPfn.Flags);
}

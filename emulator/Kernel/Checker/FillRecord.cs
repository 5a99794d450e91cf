using System.Globalization;
using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Checker;

/// <summary>Who had a translation cached, and when.</summary>
/// <param name="Number">The event before the fill.</param>
/// <param name="AsOf">The translation is no newer than this event: the fill's, or that of the cached table that led to it; moved up when it is seen to agree with the tables.</param>
/// <param name="ViaTable">It came by way of a cached table that is older than the fill.</param>
/// <param name="TimeNs">The machine's time; in a deterministic machine that is instructions executed.</param>
/// <param name="Rip">Where the vCPU was in the program, to the block.</param>
internal record struct FillRecord(long Number, long AsOf, bool ViaTable, long TimeNs, string? Comm, int Tid, ulong Rip)
{
    /// <summary>One report for each cached translation is enough.</summary>
    public bool Reported { get; set; }

    /// <summary>Names a translation among those of one vCPU.</summary>
    public static ulong KeyOf(in CachedTranslation cached) => KeyOf(cached.Address, cached.Pcid, cached.Level, cached.IsTable);

    public static ulong KeyOf(ulong address, ulong context, int level, bool isTable)
    {
        int shift = PageTable.Shift(level);
        return ((address & ((1UL << 48) - 1)) >> shift << 16) | (context << 3) | (isTable ? 4UL : 0) | (uint)(level & 3);
    }

    public override readonly string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Number} (time {TimeNs} ns): cached by {(Comm is null ? "the kernel" : $"{Comm}[{Tid}]")}, rip 0x{Rip:x}{(ViaTable ? ", by way of a table cached earlier" : "")}{(AsOf > Number ? string.Create(CultureInfo.InvariantCulture, $", seen to agree with the tables at #{AsOf}") : "")}");
}

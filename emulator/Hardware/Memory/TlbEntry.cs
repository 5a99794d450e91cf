using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Memory;

/// <summary>
/// The data word of a TLB or paging-structure-cache entry: a physical address in the place it has in a <see cref="Pte"/>, and the rights
/// that all levels of the walk together give, as bits of which an access needs some: so one mask decides.
/// </summary>
internal static class TlbEntry
{
    public const ulong Writable = (ulong)Pte.Writable;
    public const ulong User = (ulong)Pte.User;
    /// <summary>The page's dirty flag is set: stores need no walk.</summary>
    public const ulong Dirty = (ulong)Pte.Dirty;
    public const ulong Global = (ulong)Pte.Global;
    /// <summary>Code was fetched through this entry, so the instruction side depends on it.</summary>
    public const ulong Fetched = 1UL << 9;
    private const int SizeClassShift = 10;
    /// <summary>The opposite of <see cref="Pte.NoExecute"/>, so that all rights are positive.</summary>
    public const ulong Executable = (ulong)Pte.NoExecute;
    /// <summary>Where the stamp of a <see cref="TranslationWitness"/> is: between the highest physical address and <see cref="Executable"/>.</summary>
    public const int StampShift = 52;
    public const ulong Rights = Writable | User | Executable;

    /// <summary>The rights an access needs (SDM vol. 3, 4.6). Without <see cref="Dirty"/>, which is no right but a reason to walk.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Needed(Access access, bool user, bool writeProtect) => (user ? User : 0) | access switch
    {
        Access.Write when user || writeProtect => Writable,
        Access.Execute => Executable,
        _ => 0,
    };

    /// <summary>What one paging-structure entry grants.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Granted(ulong entry) => (entry & (Writable | User)) | (~entry & Executable);

    public static uint Stamp(ulong data) => (uint)(data >> StampShift) & ((1u << TranslationWitness.StampBits) - 1);

    public static ulong OfStamp(uint stamp) => (ulong)(stamp & ((1u << TranslationWitness.StampBits) - 1)) << StampShift;

    public static ulong OfSizeClass(int sizeClass) => (ulong)sizeClass << SizeClassShift;

    /// <summary>0: 4 KiB, 1: 2 MiB, 2: 1 GiB.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int SizeClass(ulong data) => (int)(data >> SizeClassShift) & 3;

    /// <summary>Physical address of the page's, or of the next table's, first byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Base(ulong data) => data & (ulong)Pte.Frame;

    /// <summary>Physical address that <paramref name="address"/> has in the page.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Translate(ulong data, ulong address)
        => Base(data) + (address & ((1UL << (12 + 9 * SizeClass(data))) - 1));
}

using System.Runtime.InteropServices;

namespace Emulator.Hardware.Memory;

/// <summary>Native state of a vCPU's TLB, paging-structure cache and their counters. Written by the vCPU's holder alone.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TlbState
{
    /// <summary>Physical address of the root table.</summary>
    public ulong Cr3;
    /// <summary>The current PCID.</summary>
    public ulong Context;

    internal TlbArray Level1;
    internal TlbArray Level1Large;
    internal TlbArray Level2;
    internal bool HasLevel2;
    /// <summary>Size classes above 4 KiB that were filled since the last complete flush; others need not be looked up.</summary>
    internal uint LargeSeen;
    /// <summary>A translation was used for fetching since the jump cache was last emptied.</summary>
    internal bool FetchedSeen;
    /// <summary>The front may hold something.</summary>
    internal bool FrontSeen;

    /// <summary>PDEs, PDPTEs and PML4Es that point to tables.</summary>
    internal TlbArray Pde;
    internal TlbArray Pdpte;
    internal TlbArray Pml4e;

    /// <summary>
    /// Frames that pages were last found in, by the low bits of the page number, for prefetching alone: what it says may be of another page or long untrue.
    /// </summary>
    internal uint* Hints;
    internal const int HintCount = 1 << 15;

    internal byte* Storage;
    internal ulong StorageBytes;

    // In bounds: Memory for MemoryBytes, Code and Exposed for a byte of each frame; who adds to them has a translation.
    internal byte* Memory;
    internal ulong MemoryBytes;
    internal byte* Code;
    internal byte* Exposed;

    /// <summary>Bits that fault in every present entry: above the physical-address width, and NX when it is not enabled.</summary>
    internal ulong Reserved;
    /// <summary>CR0.WP: a supervisor's store respects read-only pages.</summary>
    internal bool WriteProtect;
    /// <summary>EFER.NXE: bit 63 forbids fetching.</summary>
    internal bool NoExecute;

    /// <summary>Where the two parts of the access in the bounce buffer belong.</summary>
    internal byte* BounceFirst;
    internal byte* BounceSecond;
    /// <summary>Bytes of the access in the bounce buffer that belong to its first page.</summary>
    internal int BounceSplit;
    /// <summary>The access's address, and <see cref="Served"/> when it was translated.</summary>
    internal ulong BounceAddress, BounceServed;
    /// <summary>Interrupts served that may have changed the TLB or what may be written: an earlier translation is no longer to be used.</summary>
    internal ulong Served;

    /// <summary>A handle of the <see cref="TranslationWitness"/>, or 0.</summary>
    internal nint Witness;

    public CounterValues Counters;
}

/// <summary>What a page walker obeys besides the tables: control bits that stay as Linux sets them once (SDM vol. 3, 4.1.3).</summary>
/// <param name="PhysicalAddressBits">MAXPHYADDR, 36 to 51; higher address bits in an entry are reserved.</param>
public readonly record struct PagingControls(int PhysicalAddressBits, bool WriteProtect, bool NoExecute)
{
    public static PagingControls Linux { get; } = new(46, WriteProtect: true, NoExecute: true);
}

using System.Runtime.InteropServices;

namespace Emulator.Hardware.Memory;

/// <summary>Reservations of zeroed host memory that the host commits page by page, where it is touched.</summary>
/// <remarks>In bounds: sizes are of a machine's configuration, refused where they overflow; parts of a reservation are checked by <see cref="PhysicalMemory"/>, which has them from the kernel.</remarks>
public static unsafe partial class HostMemory
{
    private const int ProtNone = 0, ProtRead = 1, ProtWrite = 2, ProtExecute = 4;
    private const int MapPrivate = 2, MapAnonymous = 0x20, MapNoReserve = 0x4000;
    private const int MadviseDontNeed = 4, MadviseHugePage = 14, MadviseNoHugePage = 15;

    /// <summary>Inaccessible addresses before and behind each reservation, of the host's huge page size so that alignment stays: an index that went astray ends the process there.</summary>
    private const int Guard = 2 << 20;

    /// <summary>Reserves <paramref name="bytes"/> without regard to how much the host has: MAP_NORESERVE.</summary>
    /// <exception cref="IOException">The host has no such range of addresses left.</exception>
    public static byte* Reserve(ulong bytes)
    {
        nint guard = Map(0, checked((nuint)bytes + 2 * Guard), ProtNone, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
        nint address = guard + Guard;
        if (guard == -1 || Protect(address, (nuint)bytes, ProtRead | ProtWrite) != 0)
            throw new IOException($"The host refuses to reserve {bytes} bytes of addresses.");
        // A page table lies among every 512 frames of data: huge pages of the host's would commit what nobody touches (but see PreferHugePages).
        _ = Advise(address, (nuint)bytes, MadviseNoHugePage);
        return (byte*)address;
    }

    /// <summary>Lets the host commit part of a reservation by huge pages: what is going to be touched all over costs fewer host faults and TLB misses so.</summary>
    public static void PreferHugePages(byte* address, ulong bytes) => _ = Advise((nint)address, (nuint)bytes, MadviseHugePage);

    /// <summary>Takes that back, as far as nothing is committed yet.</summary>
    public static void PreferSmallPages(byte* address, ulong bytes) => _ = Advise((nint)address, (nuint)bytes, MadviseNoHugePage);

    /// <summary>Pages of a range, a whole number of them, that the host has committed.</summary>
    public static int CountCommitted(byte* address, int pages)
    {
        // In bounds: a number of the callers' own, of the pages of one block.
        byte* states = stackalloc byte[pages];
        if (Residence((nint)address, (nuint)pages * (nuint)Pfn.Size, states) != 0)
            return 0;
        int committed = 0;
        for (int i = 0; i < pages; i++)
            committed += states[i] & 1;
        return committed;
    }

    public static void Release(byte* address, ulong bytes) => _ = Unmap((nint)address - Guard, (nuint)bytes + 2 * Guard);

    /// <summary>Gives the host its memory back; the range reads as zeros afterwards.</summary>
    public static void Discard(byte* address, ulong bytes) => _ = Advise((nint)address, (nuint)bytes, MadviseDontNeed);

    /// <summary>Takes write permission from a reservation and lets the host execute it.</summary>
    /// <exception cref="IOException">The host forbids it.</exception>
    public static void MakeExecutable(byte* address, ulong bytes)
    {
        if (Protect((nint)address, (nuint)bytes, ProtRead | ProtExecute) != 0)
            throw new IOException("The host refuses to make memory executable.");
    }

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport("libc", EntryPoint = "mincore")]
    private static partial int Residence(nint address, nuint length, byte* states);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}

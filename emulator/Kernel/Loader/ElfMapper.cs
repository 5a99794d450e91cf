using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Loader;

/// <summary>Maps the segments of an ELF image into an address space (fs/binfmt_elf.c:elf_load).</summary>
internal static class ElfMapper
{
    /// <param name="mm">The new address space.</param>
    /// <param name="task">Whose limits count.</param>
    /// <param name="file">The file.</param>
    /// <param name="image">Its headers.</param>
    /// <param name="place">Where a position-independent image should begin; null: wherever there is room.</param>
    /// <param name="bias">What was added to the addresses in the file.</param>
    /// <param name="error">What failed.</param>
    public static bool TryMap(Mm mm, Task? task, OpenFile file, ElfImage image, ulong? place, out ulong bias, out LoadError? error)
    {
        bias = 0;
        error = null;
        if (image.IsPositionIndependent && !TryPlace(mm, task, image, place, out bias))
        {
            error = new LoadError(Errno.ENOMEM, "does not fit into the address space");
            return false;
        }
        foreach (ElfSegment segment in image.Segments)
        {
            if (segment.Type != ElfSegment.Load)
                continue;
            long result = MapSegment(mm, task, file, segment, bias);
            if (result < 0)
            {
                string why = result == -Errno.EPERM ? ", below the lowest address that may be mapped" : " that cannot be mapped";
                error = new LoadError((int)-result, $"has a segment at 0x{segment.Address + bias:x}{why}");
                return false;
            }
        }
        return true;
    }

    private static bool TryPlace(Mm mm, Task? task, ElfImage image, ulong? place, out ulong bias)
    {
        bias = 0;
        ulong size = Layout.PageAlign(image.HighestAddress) - image.LowestAddress;
        ulong slack = image.Alignment - 4096;
        // A reservation finds the room; the segments take it.
        long found = mm.Mmap(task, place ?? 0, size + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, null, 0);
        if (found < 0)
            return false;
        mm.Munmap(task, (ulong)found, size + slack);
        ulong start = ((ulong)found + slack) & ~(image.Alignment - 1);
        bias = start - (image.LowestAddress & ~(image.Alignment - 1));
        return true;
    }

    private static long MapSegment(Mm mm, Task? task, OpenFile file, in ElfSegment segment, ulong bias)
    {
        ulong address = segment.Address + bias, start = address & ~0xFFFUL;
        ulong fileEnd = address + segment.FileSize, end = Layout.PageAlign(address + segment.MemorySize);
        int prot = ((segment.Flags & ElfSegment.Readable) != 0 ? PROT_READ : 0) | ((segment.Flags & ElfSegment.Writable) != 0 ? PROT_WRITE : 0)
            | ((segment.Flags & ElfSegment.Executable) != 0 ? PROT_EXEC : 0);
        ulong anonymous = start;
        if (segment.FileSize > 0)
        {
            long mapped = mm.Mmap(task, start, fileEnd - start, prot, MAP_PRIVATE | MAP_FIXED, file, segment.Offset >> 12);
            if (mapped < 0)
                return mapped;
            anonymous = Layout.PageAlign(fileEnd);
            if (segment.MemorySize > segment.FileSize && (prot & PROT_WRITE) != 0 && fileEnd < anonymous)
            {
                byte[] zeroes = new byte[anonymous - fileEnd]; // Less than a page.
                if (mm.WriteMemory(task, fileEnd, zeroes) != zeroes.Length)
                    return -Errno.EFAULT;
            }
        }
        return end > anonymous
            ? Math.Min(0, mm.Mmap(task, anonymous, end - anonymous, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, null, 0))
            : 0;
    }

    /// <summary>Where code, data and heap are, for brk and /proc.</summary>
    public static void SetBounds(Mm mm, ElfImage image, ulong bias)
    {
        ulong startCode = ulong.MaxValue, endCode = 0, startData = 0, endData = 0, brk = 0;
        foreach (ElfSegment segment in image.Segments)
        {
            if (segment.Type != ElfSegment.Load)
                continue;
            ulong address = segment.Address + bias;
            if ((segment.Flags & ElfSegment.Executable) != 0)
            {
                startCode = Math.Min(startCode, address);
                endCode = Math.Max(endCode, address + segment.FileSize);
            }
            startData = Math.Max(startData, address);
            endData = Math.Max(endData, address + segment.FileSize);
            brk = Math.Max(brk, address + segment.MemorySize);
        }
        (mm.StartCode, mm.EndCode, mm.StartData, mm.EndData) = (startCode == ulong.MaxValue ? 0 : startCode, endCode, startData, endData);
        mm.StartBrk = mm.CurrentBrk = Layout.PageAlign(brk);
    }
}

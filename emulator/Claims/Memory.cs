using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims;

/// <summary>Memory of a task, as scenarios need it.</summary>
internal static class Memory
{
    /// <summary>Maps private anonymous memory and writes to each page its number.</summary>
    /// <returns>The address.</returns>
    public static ulong Fill(Task task, int pages)
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, (ulong)pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
        for (int i = 0; i < pages; i++)
            task.TryWrite(at + ((ulong)i << 12), (byte)i);
        return at;
    }

    /// <summary>The frame of a mapped address.</summary>
    /// <exception cref="InconclusiveException">Nothing is mapped there.</exception>
    public static FrameTag Tag(Stage stage, Kernel.Memory.Mm mm, ulong address) =>
        mm.TryWalk(address, write: false, out Hardware.Memory.Pfn frame) ? stage.Tag(frame) : throw new InconclusiveException($"nothing is mapped at 0x{address:x}");
}

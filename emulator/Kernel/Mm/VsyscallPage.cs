using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The page at 0xffffffffff600000 where very old programs call gettimeofday, time and getcpu. It can be read, and holds code that makes
/// the system call, as Linux's did in its <c>vsyscall=native</c> mode. It lies in the kernel's half, which every address space shares.
/// </summary>
/// <remarks>In bounds: nothing here is a guest's.</remarks>
internal static unsafe class VsyscallPage
{
    private static ReadOnlySpan<ushort> SystemCalls => [96, 201, 309];

    public static void Map(PageAllocator pages, PageTables kernel)
    {
        Pfn frame = pages.AllocateReserved();
        var page = new Span<byte>(pages.Memory.Pointer(frame), 4096);
        page.Fill(0xCC);
        for (int i = 0; i < SystemCalls.Length; i++)
        {
            // MOV EAX, number; SYSCALL; RET: at every 1024 bytes.
            ReadOnlySpan<byte> code = [0xB8, (byte)SystemCalls[i], (byte)(SystemCalls[i] >> 8), 0, 0, 0x0F, 0x05, 0xC3];
            code.CopyTo(page[(i * 1024)..]);
        }
        ulong* entry = kernel.FindOrCreate(Layout.Vsyscall);
        PageTables.Set(entry, frame.Address | (ulong)(Pte.Present | Pte.User | Pte.Accessed));
    }
}

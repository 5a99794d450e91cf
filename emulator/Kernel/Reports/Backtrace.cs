using System.Buffers.Binary;
using System.Collections.Immutable;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Reports;

/// <summary>
/// Follows frame pointers: at RBP lie the caller's RBP and the return address (System V ABI for AMD64, 3.2.2). Programs may use RBP for
/// anything, so each step is believed only if frames are aligned and rise, and the address is executable.
/// </summary>
internal static unsafe class Backtrace
{
    private const int MaxFrames = 16;

    /// <summary>The farthest that a caller's frame may lie above the called one's: more is no stack.</summary>
    private const ulong MaxFrameSize = 8 << 20;

    public static ImmutableArray<StackFrame> Of(Task task, CodeLocator locator)
    {
        ImmutableArray<StackFrame>.Builder frames = ImmutableArray.CreateBuilder<StackFrame>();
        Span<byte> pair = stackalloc byte[2 * sizeof(ulong)];
        ulong frame = task.Registers->Gpr[VcpuRegisters.Rbp], least = task.Registers->Gpr[VcpuRegisters.Rsp];
        while (frames.Count < MaxFrames && IsFrame(frame, least) && task.Mm.ReadMemory(task, frame, pair) == pair.Length)
        {
            ulong address = BinaryPrimitives.ReadUInt64LittleEndian(pair[sizeof(ulong)..]);
            if (!IsExecutable(task, address))
                break;
            // The call is before its return address, which may belong to the next function already.
            frames.Add(new StackFrame(address, locator.Find(task, address - 1)));
            least = frame + (ulong)pair.Length;
            frame = BinaryPrimitives.ReadUInt64LittleEndian(pair);
        }
        return frames.ToImmutable();
    }

    private static bool IsFrame(ulong frame, ulong least) =>
        frame % sizeof(ulong) == 0 && frame >= least && frame - least < MaxFrameSize && PageTable.IsCanonical(frame) && (long)frame > 0;

    private static bool IsExecutable(Task task, ulong address)
    {
        using (task.Mm.MmapLock.EnterRead(task))
            return task.Mm.Vmas.Find(address) is { } vma && (vma.Flags & VmFlags.Exec) != 0;
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Reaching into an address space that no vCPU of ours need be running: other processes, debuggers, the loader.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Copies out of the address space; returns the bytes copied before the first page that cannot be read.</summary>
    public int ReadMemory(Task? task, ulong address, Span<byte> buffer, bool force = false) =>
        Access(task, address, buffer, force ? FollFlags.Force : FollFlags.None, pin: false);

    /// <summary>Copies into the address space; returns the bytes copied before the first page that cannot be written.</summary>
    public int WriteMemory(Task? task, ulong address, ReadOnlySpan<byte> data, bool force = false)
    {
        fixed (byte* bytes = data)
            return Access(task, address, new Span<byte>(bytes, data.Length), FollFlags.Write | (force ? FollFlags.Force : FollFlags.None), pin: false);
    }

    /// <summary>As <see cref="ReadMemory"/>, on pinned pages and without growing a stack (process_vm_readv).</summary>
    internal int ReadPinned(Task task, ulong address, Span<byte> buffer) => Access(task, address, buffer, FollFlags.None, pin: true);

    /// <summary>As <see cref="WriteMemory"/>, on pinned pages and without growing a stack (process_vm_writev).</summary>
    internal int WritePinned(Task task, ulong address, ReadOnlySpan<byte> data)
    {
        fixed (byte* bytes = data)
            return Access(task, address, new Span<byte>(bytes, data.Length), FollFlags.Write, pin: true);
    }

    private int Access(Task? task, ulong address, Span<byte> buffer, FollFlags flags, bool pin)
    {
        int done = 0;
        Span<Pfn> frame = stackalloc Pfn[1];
        while (done < buffer.Length)
        {
            ulong at = address + (ulong)done;
            if (at < address || at >= Layout.TaskSize)
                break;
            if (TakePages(task, at, flags, frame, pin) != 1 && (pin || !ExpandStack(task, at) || TakePages(task, at, flags, frame, pin) != 1))
                break;
            int inPage = (int)(at & 0xFFF);
            Span<byte> part = buffer.Slice(done, Math.Min(buffer.Length - done, 4096 - inPage));
            bool write = (flags & FollFlags.Write) != 0;
            Copy(frame[0], inPage, part, write);
            PageAllocator.MarkAccessed(ref Pages[frame[0]]);
            if (pin)
                UnpinUserPages(frame, write);
            else
                Pages.Put(frame[0]);
            done += part.Length;
        }
        return done;
    }

    private void Copy(Pfn frame, int inPage, Span<byte> bytes, bool write)
    {
        // In bounds: the caller ends each part with its page, and the reference that it took keeps the frame the program's.
        var page = new Span<byte>(Pages.Memory.Pointer(frame) + inPage, bytes.Length);
        if (!write)
        {
            page.CopyTo(bytes);
            return;
        }
        Pages.Memory.BeforeWrite(frame);
        bytes.CopyTo(page);
        PageAllocator.SetFlags(ref Pages[Pages.HeadOf(frame)], PageFlags.Dirty);
    }
}

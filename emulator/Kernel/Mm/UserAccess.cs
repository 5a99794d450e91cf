using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks;

/// <summary>
/// The kernel's access to the running program's memory, through the vCPU's own TLB as the processor would make it, with the fault path
/// behind it. A translation stays good until the vCPU serves interrupts, which none of this does between translating and copying.
/// </summary>
/// <remarks>
/// In bounds: addresses are the guest's, and become host addresses by its TLB alone; each copy ends with the page that was translated. Lengths are those of spans that the
/// callers made; every caller compares what the guest said with a constant before.
/// </remarks>
public static unsafe class UserAccess
{
    /// <summary>Copies from user memory. False: some of it cannot be read (-EFAULT); what came before it is copied.</summary>
    public static bool CopyFromUser(this Task task, ulong address, Span<byte> destination) =>
        task.CopyFromUserPartial(address, destination) == destination.Length;

    /// <summary>Copies to user memory. False: some of it cannot be written (-EFAULT); what came before it is written.</summary>
    public static bool CopyToUser(this Task task, ulong address, ReadOnlySpan<byte> source) =>
        task.CopyToUserPartial(address, source) == source.Length;

    /// <summary>As <see cref="CopyFromUser"/>; returns the bytes copied.</summary>
    public static int CopyFromUserPartial(this Task task, ulong address, Span<byte> destination)
    {
        if (!IsUserRange(address, (ulong)destination.Length))
            return 0;
        int done = 0;
        while (done < destination.Length)
        {
            ulong at = address + (ulong)done;
            int part = Math.Min(destination.Length - done, 4096 - (int)(at & 0xFFF));
            if (!TryTranslate(task, at, Access.Read, out byte* host))
            {
                if (Resolve(task, at, FaultFlags.Read))
                    continue;
                break;
            }
            new ReadOnlySpan<byte>(host, part).CopyTo(destination[done..]);
            done += part;
        }
        return done;
    }

    /// <summary>As <see cref="CopyToUser"/>; returns the bytes copied.</summary>
    public static int CopyToUserPartial(this Task task, ulong address, ReadOnlySpan<byte> source)
    {
        if (!IsUserRange(address, (ulong)source.Length))
            return 0;
        int done = 0;
        while (done < source.Length)
        {
            ulong at = address + (ulong)done;
            int part = Math.Min(source.Length - done, 4096 - (int)(at & 0xFFF));
            if (!TryTranslate(task, at, Access.Write, out byte* host))
            {
                if (Resolve(task, at, FaultFlags.Write))
                    continue;
                break;
            }
            source.Slice(done, part).CopyTo(new Span<byte>(host, part));
            done += part;
        }
        return done;
    }

    /// <summary>Clears user memory.</summary>
    public static bool ClearUser(this Task task, ulong address, ulong length)
    {
        Span<byte> zeroes = stackalloc byte[512];
        zeroes.Clear();
        while (length > 0)
        {
            int part = (int)Math.Min(length, (ulong)zeroes.Length);
            if (!task.CopyToUser(address, zeroes[..part]))
                return false;
            address += (ulong)part;
            length -= (ulong)part;
        }
        return true;
    }

    /// <summary>Reads a value; false: -EFAULT.</summary>
    public static bool TryRead<T>(this Task task, ulong address, out T value)
        where T : unmanaged
    {
        Unsafe.SkipInit(out value);
        return task.CopyFromUser(address, MemoryMarshal.AsBytes(new Span<T>(ref value)));
    }

    /// <summary>Writes a value; false: -EFAULT.</summary>
    public static bool TryWrite<T>(this Task task, ulong address, in T value)
        where T : unmanaged =>
        task.CopyToUser(address, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

    /// <summary>Reads a string that ends with a zero byte, which is not returned.</summary>
    /// <param name="task">The caller.</param>
    /// <param name="address">Its first byte.</param>
    /// <param name="max">The most bytes it may have, the zero included.</param>
    /// <param name="bytes">The string.</param>
    /// <returns>0, -EFAULT, or -ENAMETOOLONG.</returns>
    public static int ReadString(this Task task, ulong address, int max, out byte[] bytes)
    {
        bytes = [];
        byte[] buffer = new byte[Math.Min(max, 256)];
        int length = 0;
        while (length < max)
        {
            if (length == buffer.Length)
                Array.Resize(ref buffer, Math.Min(max, buffer.Length * 4));
            ulong at = address + (ulong)length;
            int part = Math.Min(buffer.Length - length, 4096 - (int)(at & 0xFFF));
            Span<byte> target = buffer.AsSpan(length, part);
            if (!task.CopyFromUser(at, target))
                return -Errno.EFAULT;
            int end = target.IndexOf((byte)0);
            if (end >= 0)
            {
                bytes = buffer[..(length + end)];
                return 0;
            }
            length += part;
        }
        return -Errno.ENAMETOOLONG;
    }

    /// <summary>Finds the frame and offset behind a user address, for futexes: faulted in, and for writing if asked.</summary>
    public static bool TryTranslateUser(this Task task, ulong address, bool write, out byte* host)
    {
        Access access = write ? Access.Write : Access.Read;
        host = null;
        if (!IsUserRange(address, 1))
            return false;
        while (!TryTranslate(task, address, access, out host))
        {
            if (!Resolve(task, address, write ? FaultFlags.Write : FaultFlags.Read))
                return false;
        }
        return true;
    }

    /// <summary>access_ok: the range lies in the user's half.</summary>
    public static bool IsUserRange(ulong address, ulong length) => address <= Layout.TaskSize && length <= Layout.TaskSize - address;

    private static bool Resolve(Task task, ulong address, FaultFlags flags) =>
        task.Mm.HandleFault(task, address, flags) == FaultOutcome.Done;

    private static bool TryTranslate(Task task, ulong address, Access access, out byte* host)
    {
        host = null;
        VcpuState* state = task.Vcpu!.State;
        if (!Mmu.Translate(state, address, access, user: true, out ulong physical))
            return false;
        PhysicalMemory memory = task.Mm.Pages.Memory;
        if (access == Access.Write)
        {
            // Dropping decoded code may have served a flush, so the translation is asked for again.
            ulong first = physical;
            memory.BeforeWrite(new Pfn(physical >> Pfn.Shift));
            if (!Mmu.Translate(state, address, access, user: true, out physical))
                return false;
            if (physical != first)
                return TryTranslate(task, address, access, out host);
        }
        host = memory.Base + physical;
        return true;
    }
}

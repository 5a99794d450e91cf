using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// Where data waits between the device and the program (dmirror_bounce): user memory must not be touched under the mirror's lock, which the
/// fault would take again. Costs the host only what is filled.
/// </summary>
internal sealed unsafe class Bounce : IDisposable
{
    private readonly byte* _bytes;
    private readonly ulong _start;
    private readonly ulong _size;

    private readonly KernelMemory _memory;

    private Bounce(KernelMemory memory, ulong start, ulong size)
    {
        _memory = memory;
        _start = start;
        _size = size;
        _bytes = HostMemory.Reserve(size);
    }

    /// <summary>Pages of it that are done.</summary>
    public ulong DonePages { get; set; }

    /// <summary>Null: it would not fit the kernel's memory (vmalloc).</summary>
    public static Bounce? Create(Task task, ulong start, ulong size) =>
        size <= task.Machine.Memory.Bytes && task.Machine.KernelMemory.TryCharge((long)size) ? new Bounce(task.Machine.KernelMemory, start, size) : null;

    /// <summary>The page of it for an address of the range. In bounds: addresses are whole pages from the start to less than the end that <see cref="Create"/> was told of.</summary>
    public Span<byte> Page(ulong address) => new(_bytes + (address - _start), (int)Pfn.Size);

    public bool CopyTo(Task task, ulong user) => Copy(user, (task, user), static (s, offset, part) => s.task.CopyToUser(s.user + offset, part));

    public bool CopyFrom(Task task, ulong user) => Copy(user, (task, user), static (s, offset, part) => s.task.CopyFromUser(s.user + offset, part));

    private bool Copy<T>(ulong user, T state, Func<T, ulong, Span<byte>, bool> copy)
    {
        const int Part = 1 << 20;
        if (!UserAccess.IsUserRange(user, _size))
            return false;
        for (ulong offset = 0; offset < _size; offset += Part)
        {
            if (!copy(state, offset, new Span<byte>(_bytes + offset, (int)Math.Min(Part, _size - offset))))
                return false;
        }
        return true;
    }

    public void Dispose()
    {
        HostMemory.Release(_bytes, _size);
        _memory.Uncharge((long)_size);
    }
}

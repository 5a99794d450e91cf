namespace Emulator.Kernel.Memory;

/// <summary>
/// Host memory that the kernel's own objects take on behalf of programs: open files, names, what waits in pipes, sockets and queues, timers, locks, mappings. Guests' pages and
/// page tables lie in the machine's memory and are not counted here. Counts say how many of each there may be in a process; this is the bound for all of
/// them together, as a memory control group's would be. Costs are estimates, rather too high.
/// </summary>
/// <param name="limit">Bytes.</param>
public sealed class KernelMemory(long limit)
{
    /// <summary>Estimates for objects whose size does not depend on the program.</summary>
    internal const int OpenFile = 1024, Name = 1024, Pipe = 1024, Message = 256, WatchedFile = 512, Timer = 512, FileLock = 128, Mapping = 512, Signal = 192, Descriptor = 9, MirrorBlock = 4224, BufferPage = 32, TablePage = 16,
        Chain = 64;

    private const ulong Least = 64 << 20;
    private const int Share = 4;

    private long _used;
    private int _openFiles;

    /// <summary>A quarter of the machine's memory, which is what a kernel on it might use, and not so little that small machines run nothing.</summary>
    internal static KernelMemory For(ulong memoryBytes) => new((long)Math.Max(memoryBytes / Share, Least));

    public long Limit { get; } = limit;

    public long Used => Volatile.Read(ref _used);

    /// <summary>Open file descriptions that programs have, or have sent on their way.</summary>
    public int OpenFiles => Volatile.Read(ref _openFiles);

    internal void CountFiles(int more) => Interlocked.Add(ref _openFiles, more);

    /// <summary>For what cannot be taken back half-way, such as a mapping that is being split: asked first, and charged whatever the answer then is.</summary>
    internal bool HasRoom => Used < Limit;

    internal bool TryCharge(long bytes)
    {
        if (Interlocked.Add(ref _used, bytes) <= Limit)
            return true;
        Interlocked.Add(ref _used, -bytes);
        return false;
    }

    internal void Charge(long bytes) => Interlocked.Add(ref _used, bytes);

    internal void Uncharge(long bytes) => Interlocked.Add(ref _used, -bytes);
}

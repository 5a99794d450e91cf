using System.Runtime.InteropServices;

namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>Where a task's host thread waits for its turn: one waits at a time. The one place in the kernel, beside the event loop, where a host thread blocks.</summary>
/// <remarks>
/// A POSIX semaphore, which is one system call for each side and none if the gate is open already. Of .NET's own, monitors and events alike, each hand-over takes some five on each side.
/// An opening before the last one was used counts once: the word beside the semaphore says whether its value is to be, or is, 1.
/// In bounds: no guest's number comes here; the semaphore lies in an array that does not move and lives as long as the gate.
/// </remarks>
internal sealed unsafe partial class HostThreadGate
{
    /// <summary>sem_t is 16 or 32 bytes on every Linux; it stays where it is, and on a cache line with nothing else.</summary>
    private readonly ulong[] _semaphore = GC.AllocateArray<ulong>(16, pinned: true);
    private int _open;

    public HostThreadGate()
    {
        if (Initialize(Semaphore, 0, 0) != 0)
            throw new InvalidOperationException("the host gives no semaphore");
    }

    private ulong* Semaphore => (ulong*)Marshal.UnsafeAddrOfPinnedArrayElement(_semaphore, 8);

    public void Wait()
    {
        // -1: interrupted by a signal of the host.
        while (TakeOne(Semaphore) != 0)
        {
        }
        Interlocked.Exchange(ref _open, 0);
    }

    public void Open()
    {
        if (Interlocked.Exchange(ref _open, 1) == 0)
            _ = Post(Semaphore);
        GC.KeepAlive(_semaphore);
    }

    [LibraryImport("libc", EntryPoint = "sem_init")]
    private static partial int Initialize(ulong* semaphore, int shared, uint value);

    [LibraryImport("libc", EntryPoint = "sem_wait")]
    private static partial int TakeOne(ulong* semaphore);

    [LibraryImport("libc", EntryPoint = "sem_post")]
    private static partial int Post(ulong* semaphore);
}

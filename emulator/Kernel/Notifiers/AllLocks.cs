using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Notifiers;

/// <summary>
/// Holds every lock under which changes of an address space begin and end, besides the mmap lock, which the caller holds for writing: those of its
/// files' mappings and of its anonymous reverse maps (mm_take_all_locks). So nobody who registers is told the end of a change without its start.
/// </summary>
internal readonly ref struct AllLocks
{
    private readonly List<RwSemaphore> _locks = [];

    public AllLocks(Task? task, Mm mm)
    {
        var hosts = new SortedList<ulong, RwSemaphore>();
        // Always in the same order, or two registrations could wait for each other.
        var caches = new SortedList<uint, RwSemaphore>();
        var anonymous = new SortedList<uint, RwSemaphore>();
        var devices = new SortedList<uint, RwSemaphore>();
        for (Vma? vma = mm.Vmas.First; vma is not null; vma = mm.Vmas.Next(vma))
        {
            Collect(vma, caches, anonymous, devices);
            if (vma.Shares is { } shares)
                hosts[shares.Host.Context.Id] = shares.Host.MmapLock;
        }
        // Changes of a host are announced here, too. Hosts share nothing themselves, so it goes no deeper.
        Take(task, hosts.Values);
        for (Vma? vma = mm.Vmas.First; vma is not null; vma = mm.Vmas.Next(vma))
        {
            for (Vma? inside = vma.Shares?.Host.Vmas.First; inside is not null; inside = vma.Shares!.Host.Vmas.Next(inside))
                Collect(inside, caches, anonymous, devices);
        }
        Take(task, caches.Values);
        Take(task, anonymous.Values);
        // Drivers take their frames out of these while reverse maps of the memory behind are locked.
        Take(task, devices.Values);
    }

    private static void Collect(Vma vma, SortedList<uint, RwSemaphore> caches, SortedList<uint, RwSemaphore> anonymous, SortedList<uint, RwSemaphore> devices)
    {
        if (vma.Cache is { } cache)
            (cache is DeviceMapping ? devices : caches)[cache.Id] = cache.MappingsLock;
        if (vma.AnonVma is { } anonVma)
            anonymous[anonVma.Root.Number] = anonVma.Root.Lock;
    }

    private void Take(Task? task, IList<RwSemaphore> locks)
    {
        for (int i = 0; i < locks.Count; i++)
        {
            locks[i].LockWrite(task, subclass: i);
            _locks.Add(locks[i]);
        }
    }

    public void Dispose()
    {
        for (int i = _locks.Count - 1; i >= 0; i--)
            _locks[i].UnlockWrite();
    }
}

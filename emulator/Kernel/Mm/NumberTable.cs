using System.Collections.Concurrent;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The objects that <see cref="Page.Owner"/> names by number, since a frame's metadata holds no references. A number is never given twice
/// (<see cref="PageAllocator.NextOwner"/>), so a stale one finds nothing rather than somebody else.
/// </summary>
internal sealed class NumberTable<T>
    where T : class
{
    private readonly ConcurrentDictionary<uint, T> _objects = new();
    public void Add(uint number, T added) => _objects[number] = added;

    public void Remove(uint number) => _objects.TryRemove(number, out _);

    /// <summary>The object of a number; null: none, or gone.</summary>
    public T? Find(uint number) => _objects.GetValueOrDefault(number);

    /// <summary>Objects that are there.</summary>
    public int Count => _objects.Count;
}

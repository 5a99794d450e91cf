using System.Numerics;
using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Smp;

/// <summary>A set of vCPU numbers, 0 to 255.</summary>
public struct VcpuMask : IEquatable<VcpuMask>
{
    public const int MaxVcpus = 256;

    [InlineArray(MaxVcpus / 64)]
    private struct Words
    {
        private ulong _first;
    }

    private Words _words;

    /// <summary>The vCPUs 0 to <paramref name="count"/> - 1.</summary>
    public static VcpuMask First(int count)
    {
        var mask = default(VcpuMask);
        for (int id = 0; id < count; id++)
            mask.Add(id);
        return mask;
    }

    public static VcpuMask Of(int id)
    {
        var mask = default(VcpuMask);
        mask.Add(id);
        return mask;
    }

    public readonly bool IsEmpty => (_words[0] | _words[1] | _words[2] | _words[3]) == 0;

    public readonly int Count
        => BitOperations.PopCount(_words[0]) + BitOperations.PopCount(_words[1]) + BitOperations.PopCount(_words[2]) + BitOperations.PopCount(_words[3]);

    public readonly bool Contains(int id) => (_words[id >> 6] >> (id & 63) & 1) != 0;

    public void Add(int id) => _words[id >> 6] |= 1UL << (id & 63);

    public void Add(in VcpuMask others)
    {
        for (int i = 0; i < MaxVcpus / 64; i++)
            _words[i] |= others._words[i];
    }

    public void Remove(int id) => _words[id >> 6] &= ~(1UL << (id & 63));

    /// <summary>Adds with a full fence: the mask may be shared between threads.</summary>
    public void AddAtomic(int id) => Interlocked.Or(ref _words[id >> 6], 1UL << (id & 63));

    /// <summary>Removes with a full fence: the mask may be shared between threads.</summary>
    public void RemoveAtomic(int id) => Interlocked.And(ref _words[id >> 6], ~(1UL << (id & 63)));

    /// <summary>A copy, word by word, of a mask that other threads change.</summary>
    public VcpuMask Snapshot()
    {
        var copy = default(VcpuMask);
        for (int i = 0; i < MaxVcpus / 64; i++)
            copy._words[i] = Volatile.Read(ref _words[i]);
        return copy;
    }

    /// <summary>The smallest member not below <paramref name="id"/>, or -1: <c>for (int v = m.Next(0); v >= 0; v = m.Next(v + 1))</c>.</summary>
    public readonly int Next(int id)
    {
        if (id >= MaxVcpus)
            return -1;
        ulong word = _words[id >> 6] & (ulong.MaxValue << (id & 63));
        for (int i = id >> 6; ; word = _words[i])
        {
            if (word != 0)
                return (i << 6) + BitOperations.TrailingZeroCount(word);
            if (++i == MaxVcpus / 64)
                return -1;
        }
    }

    public readonly bool Equals(VcpuMask other)
        => _words[0] == other._words[0] && _words[1] == other._words[1] && _words[2] == other._words[2] && _words[3] == other._words[3];

    public override readonly bool Equals(object? obj) => obj is VcpuMask other && Equals(other);

    public override readonly int GetHashCode() => HashCode.Combine(_words[0], _words[1], _words[2], _words[3]);

    public static bool operator ==(VcpuMask left, VcpuMask right) => left.Equals(right);

    public static bool operator !=(VcpuMask left, VcpuMask right) => !left.Equals(right);
}

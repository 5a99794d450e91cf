using System.Buffers.Binary;
using System.Numerics;

namespace Emulator.Kernel;

/// <summary>Random numbers of one machine: xoshiro256** from a seed, so that a deterministic machine repeats itself.</summary>
public sealed class RandomSource
{
    private readonly Lock _lock = new();
    private ulong _s0, _s1, _s2, _s3;

    public RandomSource(ulong seed)
    {
        // SplitMix64 spreads seeds that differ in one bit.
        _s0 = Mix(ref seed);
        _s1 = Mix(ref seed);
        _s2 = Mix(ref seed);
        _s3 = Mix(ref seed);
    }

    /// <summary>A source that the host's generator has seeded.</summary>
    public static RandomSource FromHost()
    {
        // A random UUID comes from the same generator as RandomNumberGenerator's bytes, which would load a cryptographic library first. Its six fixed bits are not in both halves.
        Span<byte> uuid = stackalloc byte[16];
        Guid.NewGuid().TryWriteBytes(uuid);
        return new RandomSource(BinaryPrimitives.ReadUInt64LittleEndian(uuid) ^ BinaryPrimitives.ReadUInt64LittleEndian(uuid[8..]));
    }

    private static ulong Mix(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        return z ^ z >> 31;
    }

    public ulong NextUInt64()
    {
        lock (_lock)
        {
            ulong result = BitOperations.RotateLeft(_s1 * 5, 7) * 9;
            ulong t = _s1 << 17;
            _s2 ^= _s0;
            _s3 ^= _s1;
            _s1 ^= _s2;
            _s0 ^= _s3;
            _s2 ^= t;
            _s3 = BitOperations.RotateLeft(_s3, 45);
            return result;
        }
    }

    /// <summary>0 to <paramref name="exclusive"/> - 1.</summary>
    public int Next(int exclusive) => (int)Math.BigMul(NextUInt64(), (ulong)exclusive, out _);

    public void Fill(Span<byte> bytes)
    {
        Span<byte> word = stackalloc byte[8];
        while (bytes.Length > 0)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(word, NextUInt64());
            int part = Math.Min(8, bytes.Length);
            word[..part].CopyTo(bytes);
            bytes = bytes[part..];
        }
    }
}

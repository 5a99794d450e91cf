using System.Runtime.InteropServices;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// Single instructions that are not in the block cache, of one vCPU. An entry is found by its RIP and the bytes themselves, which are
/// compared on each use, so that it needs no invalidation.
/// </summary>
internal sealed unsafe class ScratchBlocks(BlockDecoder decoder) : IDisposable
{
    private const int Entries = 64, OpsPerEntry = 2;

    private readonly Op* _ops = (Op*)NativeMemory.AlignedAlloc((nuint)(Entries * OpsPerEntry * sizeof(Op)), 64);
    private readonly (ulong Rip, int Length, UInt128 Bytes)[] _keys = new (ulong, int, UInt128)[Entries];

    /// <summary>Whether the bytes hold a whole instruction (or surely an invalid one).</summary>
    public bool IsWhole(ulong rip, byte* bytes, int length) => !decoder.Decode(rip, bytes, length, complete: true, limit: 1).IsEmpty;

    public Op* Get(ulong rip, byte* bytes, int length)
    {
        // In bounds: 1 to 15 bytes come, and one instruction makes two operations at most. They are a whole one or 15, for which the decoder always has an answer.
        UInt128 key = 0;
        Buffer.MemoryCopy(bytes, &key, sizeof(UInt128), length);
        int slot = (int)((rip ^ (rip >> 12)) % Entries);
        Op* ops = _ops + slot * OpsPerEntry;
        if (_keys[slot] != (rip, length, key))
        {
            decoder.Decode(rip, bytes, length, complete: true, limit: 1).CopyTo(new Span<Op>(ops, OpsPerEntry));
            _keys[slot] = (rip, length, key);
        }
        return ops;
    }

    public void Dispose() => NativeMemory.AlignedFree(_ops);
}

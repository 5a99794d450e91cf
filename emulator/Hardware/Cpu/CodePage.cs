using System.Runtime.InteropServices;

namespace Emulator.Hardware.Cpu;

/// <summary>The decoded blocks of one frame, and the native memory that holds their operations. Pooled: frames gain and lose code often.</summary>
internal sealed unsafe class CodePage : IDisposable
{
    private const int ChunkOps = 512;

    /// <summary>Chunks that an emptied page keeps.</summary>
    private const int KeptChunks = 4;

    private readonly Dictionary<int, nint> _blocks = [];
    private readonly List<nint> _chunks = [];
    private int _chunk, _used;

    /// <summary>The retirement that ended this page's life (<see cref="BlockCache"/>).</summary>
    public long RetiredAt;

    /// <summary>Operations of all blocks, headers included.</summary>
    public int Ops { get; private set; }

    public Block* Find(int offset) => _blocks.TryGetValue(offset, out nint block) ? (Block*)block : null;

    /// <summary>Copies a decoded block into the page's memory and publishes it.</summary>
    public Block* Add(int offset, ReadOnlySpan<Op> ops)
    {
        // In bounds: at most 66 (BlockDecoder), so that any block fits into an empty chunk. The offset is a key.
        int needed = ops.Length + 1;
        if (_chunks.Count == 0 || _used + needed > ChunkOps)
        {
            if (_chunks.Count > 0)
                _chunk++;
            if (_chunk >= _chunks.Count)
            {
                _chunks.Add((nint)NativeMemory.AlignedAlloc((nuint)(ChunkOps * sizeof(Op)), 64));
                _chunk = _chunks.Count - 1;
            }
            _used = 0;
        }
        var block = (Block*)((Op*)_chunks[_chunk] + _used);
        _used += needed;
        Ops += needed;
        *block = new Block { Offset = (ushort)offset, OpCount = ops.Length };
        ops.CopyTo(new Span<Op>(block->Ops, ops.Length));
        _blocks[offset] = (nint)block;
        return block;
    }

    /// <summary>Forgets all blocks.</summary>
    public void Reset()
    {
        _blocks.Clear();
        _chunk = _used = Ops = 0;
        foreach (nint chunk in _chunks.Skip(KeptChunks))
            NativeMemory.AlignedFree((void*)chunk);
        if (_chunks.Count > KeptChunks)
            _chunks.RemoveRange(KeptChunks, _chunks.Count - KeptChunks);
    }

    public void Dispose()
    {
        foreach (nint chunk in _chunks)
            NativeMemory.AlignedFree((void*)chunk);
        _chunks.Clear();
    }
}

/// <summary>Header of a decoded block; its operations follow. The size of one operation, so that those stay aligned.</summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
internal unsafe struct Block
{
    /// <summary>Runs through the slow path after which a block's handlers are surely compiled and may be entered directly.</summary>
    private const int WarmRuns = 2;

    public ushort Offset;
    public int OpCount;
    private int _runs;

    public Op* Ops
    {
        get
        {
            fixed (Block* self = &this)
                return (Op*)(self + 1);
        }
    }

    /// <summary>Counts a run; true once the block may be linked and cached, its handlers then resolved to their compiled code.</summary>
    public bool Warm()
    {
        if (_runs > WarmRuns)
            return true;
        if (_runs++ < WarmRuns)
            return false;
        Op* ops = Ops;
        for (int i = 0; i < OpCount; i++)
            ops[i].Fn = EntryPoint.Resolve(ops[i].Fn);
        return true;
    }
}

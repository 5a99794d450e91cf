using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// All decoded blocks of a platform, by physical frame, shared by its vCPUs.
///
/// A frame with blocks is marked in <see cref="CodeFrames"/>, which keeps write permission for it out of every TLB front; a store to it ends
/// in <see cref="InvalidateFrame"/> on every vCPU.
/// The memory of retired blocks is used again only when no vCPU can be inside them: each publishes in
/// <see cref="VcpuState.CodeEpoch"/> the newest retirement it had seen when it last was outside all blocks.
/// </summary>
internal sealed unsafe class BlockCache : IDecodedCode, IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, CodePage> _pages = [];
    private readonly Queue<CodePage> _retired = new();
    /// <summary>Emptied pages that wait for a frame; more than that are given back at once.</summary>
    private readonly Stack<CodePage> _spare = new();
    private const int MostSpare = 256;
    private long _epoch;
    private long _ops;

    /// <summary>
    /// Operations that blocks in use may take, 64 MiB of them. A frame may have a block at each of its bytes, two thousand times its own size; who begins to
    /// decode beyond this drops everything first.
    /// </summary>
    private const long MostOps = (64 << 20) / 32; // bytes of an operation (Op)

    public bool IsFull => Volatile.Read(ref _ops) > MostOps;

    /// <summary>The frames that have blocks now.</summary>
    public Pfn[] Frames
    {
        get
        {
            lock (_lock)
                return [.. _pages.Keys.Select(static frame => new Pfn(frame))];
        }
    }

    /// <summary>Retired pages whose memory is not used again yet.</summary>
    public int Waiting
    {
        get
        {
            lock (_lock)
                return _retired.Count;
        }
    }

    /// <summary>The newest retirement.</summary>
    public long Epoch => Volatile.Read(ref _epoch);

    // In bounds: both numbers are keys of dictionaries.
    public Block* Find(ulong frame, int offset)
    {
        lock (_lock)
            return _pages.TryGetValue(frame, out CodePage? page) ? page.Find(offset) : null;
    }

    /// <summary>
    /// Publishes a block decoded from a frame's bytes, unless code was retired since <paramref name="epoch"/>: the bytes may then be old.
    /// </summary>
    public Block* Add(ulong frame, int offset, ReadOnlySpan<Op> ops, long epoch, IReadOnlyList<Vcpu> vcpus)
    {
        lock (_lock)
        {
            if (_epoch != epoch)
                return null;
            if (!_pages.TryGetValue(frame, out CodePage? page))
            {
                Reclaim(vcpus);
                if (!_spare.TryPop(out page))
                    page = new CodePage();
                _pages[frame] = page;
            }
            Block* block = page.Find(offset);
            if (block != null)
                return block;
            _ops += ops.Length + 1;
            return page.Add(offset, ops);
        }
    }

    /// <summary>Takes a frame's blocks out of the cache and out of the vCPU's reach.</summary>
    public void InvalidateFrame(Vcpu vcpu, Pfn frame)
    {
        Retire(frame.Value);
        JumpCache.FlushAll(vcpu.State);
        // The branch that waits to be linked may lie in what was just retired.
        vcpu.State->LinkFrom = null;
    }

    private void Retire(ulong frame)
    {
        lock (_lock)
        {
            // Also without blocks: one may be on its way from decoding to Add.
            _epoch++;
            if (!_pages.Remove(frame, out CodePage? page))
                return;
            page.RetiredAt = _epoch;
            _ops -= page.Ops;
            _retired.Enqueue(page);
        }
    }

    private void Reclaim(IReadOnlyList<Vcpu> vcpus)
    {
        if (_retired.Count == 0)
            return;
        long seen = long.MaxValue;
        foreach (Vcpu vcpu in vcpus)
            seen = Math.Min(seen, Volatile.Read(ref vcpu.State->CodeEpoch));
        while (_retired.TryPeek(out CodePage? page) && page.RetiredAt <= seen)
        {
            _retired.Dequeue();
            if (_spare.Count == MostSpare)
            {
                page.Dispose();
                continue;
            }
            page.Reset();
            _spare.Push(page);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (CodePage page in _pages.Values)
                page.Dispose();
            foreach (CodePage page in _retired)
                page.Dispose();
            foreach (CodePage page in _spare)
                page.Dispose();
            _pages.Clear();
            _retired.Clear();
            _spare.Clear();
        }
    }
}

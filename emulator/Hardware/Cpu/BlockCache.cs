using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Microsoft.Extensions.ObjectPool;

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
    private readonly ObjectPool<CodePage> _pool = new DefaultObjectPool<CodePage>(new DefaultPooledObjectPolicy<CodePage>(), 256);
    private long _epoch;

    /// <summary>The newest retirement.</summary>
    public long Epoch => Volatile.Read(ref _epoch);

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
                _pages[frame] = page = _pool.Get();
            }
            Block* block = page.Find(offset);
            return block != null ? block : page.Add(offset, ops);
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
            _pool.Return(_retired.Dequeue());
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (CodePage page in _pages.Values)
                page.Dispose();
            foreach (CodePage page in _retired)
                page.Dispose();
            _pages.Clear();
            _retired.Clear();
        }
        while (_pool.Get() is { } spare && spare.HasMemory)
            spare.Dispose();
    }
}

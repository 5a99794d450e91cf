using System.Collections.Immutable;

namespace Emulator.Kernel.Tracing;

/// <summary>
/// The parts of a run that the program has marked (PR_EMULATOR_MEASURE, guests/include/guest/measure.h): what was counted in them, on all
/// vCPUs, whoever caused it. Exact in a deterministic machine.
/// </summary>
/// <param name="read">All figures that only grow.</param>
internal sealed class MeasuredParts(Func<ImmutableArray<Figure>> read)
{
    private readonly Lock _lock = new();
    private ImmutableArray<Figure> _start, _sum;

    /// <summary>What the finished parts add up to; empty: there was none.</summary>
    public ImmutableArray<Figure> Figures
    {
        get
        {
            lock (_lock)
                return _sum.IsDefault ? [] : _sum;
        }
    }

    /// <summary>A part begins; false: one has begun already.</summary>
    public bool Begin()
    {
        lock (_lock)
        {
            if (!_start.IsDefault)
                return false;
            _start = read();
            return true;
        }
    }

    /// <summary>The part ends; false: none has begun.</summary>
    public bool End()
    {
        ImmutableArray<Figure> now = read();
        lock (_lock)
        {
            if (_start.IsDefault)
                return false;
            ImmutableArray<Figure> part = Combine(now, _start, static (end, start) => end - start);
            _sum = _sum.IsDefault ? part : Combine(_sum, part, static (sum, more) => sum + more);
            _start = default;
            return true;
        }
    }

    private static ImmutableArray<Figure> Combine(ImmutableArray<Figure> left, ImmutableArray<Figure> right, Func<ulong, ulong, ulong> with) =>
    [
        .. left.Zip(right, (a, b) => a with { Value = with(a.Value, b.Value), PerVcpu = [.. a.PerVcpu.Zip(b.PerVcpu, with)] }),
    ];
}

using System.Collections.Concurrent;

namespace Emulator.Kernel.Tasks.Locks;

/// <summary>A class of locks and the nesting within it.</summary>
internal readonly record struct LockNode(LockClass Class, int Subclass)
{
    public override string ToString() => Subclass == 0 ? Class.Name : $"{Class.Name}/{Subclass}";
}

/// <summary>One lock was taken while another was held.</summary>
internal readonly record struct LockEdge(LockNode Outer, LockMode OuterMode, LockNode Inner, LockMode InnerMode);

/// <summary>The orders in which classes of locks were taken. A circle in it is a deadlock that some schedule can reach.</summary>
/// <remarks>
/// Recursive readers (SRCU) wait for active writers only. A circle is harmless where it enters a class as a recursive reader and leaves it as
/// one that others do not wait for, a reader of whatever kind (lockdep's -(xR)-> followed by -(Sx)->); all others are reported.
/// </remarks>
internal sealed class LockGraph
{
    private readonly Lock _lock = new();
    private readonly ConcurrentDictionary<LockEdge, string> _edges = new();
    private readonly Dictionary<LockNode, List<LockEdge>> _from = [];

    public bool Knows(in LockEdge edge) => _edges.ContainsKey(edge);

    /// <summary>Enters an order; if that closes a circle, what was seen on the way back.</summary>
    /// <param name="seen">Where, as reports say it.</param>
    public string? Add(in LockEdge edge, string seen)
    {
        lock (_lock)
        {
            if (!_edges.TryAdd(edge, seen))
                return null;
            if (!_from.TryGetValue(edge.Outer, out List<LockEdge>? edges))
                _from.Add(edge.Outer, edges = []);
            edges.Add(edge);
            return PathBack(edge);
        }
    }

    /// <summary>A path from the edge's inner lock to its outer one, breadth first, so that the report is the shortest.</summary>
    private string? PathBack(in LockEdge edge)
    {
        var cameBy = new Dictionary<(LockNode, LockMode), LockEdge>();
        var queue = new Queue<(LockNode Node, LockMode Entered)>();
        queue.Enqueue((edge.Inner, edge.InnerMode));
        while (queue.TryDequeue(out (LockNode Node, LockMode Entered) at))
        {
            if (!_from.TryGetValue(at.Node, out List<LockEdge>? edges))
                continue;
            foreach (LockEdge next in edges)
            {
                if (next == edge || !Waits(at.Entered, next.OuterMode))
                    continue;
                if (next.Inner == edge.Outer && Waits(next.InnerMode, edge.OuterMode))
                    return Tell(cameBy, edge, at, next);
                if (cameBy.TryAdd((next.Inner, next.InnerMode), next))
                    queue.Enqueue((next.Inner, next.InnerMode));
            }
        }
        return null;
    }

    /// <summary>Whether one who takes a lock so can be kept waiting by one who holds it so.</summary>
    private static bool Waits(LockMode taker, LockMode holder) => taker != LockMode.Recursive || holder == LockMode.Exclusive;

    private string Tell(Dictionary<(LockNode, LockMode), LockEdge> cameBy, in LockEdge edge, (LockNode Node, LockMode Entered) at, in LockEdge last)
    {
        var steps = new List<string> { _edges[last] };
        while (at.Node != edge.Inner && cameBy.TryGetValue(at, out LockEdge step))
        {
            steps.Insert(0, _edges[step]);
            at = (step.Outer, FindEntered(cameBy, step));
        }
        return string.Join('\n', steps);
    }

    private static LockMode FindEntered(Dictionary<(LockNode, LockMode), LockEdge> cameBy, in LockEdge step)
    {
        foreach (LockMode mode in (ReadOnlySpan<LockMode>)[LockMode.Exclusive, LockMode.Shared, LockMode.Recursive])
        {
            if (cameBy.ContainsKey((step.Outer, mode)) && Waits(mode, step.OuterMode))
                return mode;
        }
        return LockMode.Exclusive;
    }
}

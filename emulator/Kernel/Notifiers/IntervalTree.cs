namespace Emulator.Kernel.Notifiers;

/// <summary>
/// Interval notifiers by their first byte, in an AVL tree whose nodes know the greatest last byte below them: insertion, removal and the
/// next notifier that overlaps a range are logarithmic (lib/interval_tree.c).
/// </summary>
internal sealed class IntervalTree
{
    private Node? _root;

    /// <summary>A notifier's place.</summary>
    internal sealed class Node(MmuIntervalNotifier notifier)
    {
        public readonly MmuIntervalNotifier Notifier = notifier;
        public Node? Left, Right;
        public int Height = 1;
        public ulong Greatest;

        /// <summary>Breaks ties among equal starts, so that removal finds the very node.</summary>
        public long Order;
    }

    /// <summary>What is done with each notifier found.</summary>
    internal interface IVisitor
    {
        void Visit(MmuIntervalNotifier notifier);
    }

    private long _order;

    public int Count { get; private set; }

    /// <summary>Nodes from the root to the deepest leaf.</summary>
    public int Height => HeightOf(_root);

    public void Insert(MmuIntervalNotifier notifier)
    {
        Node node = notifier.Node;
        (node.Left, node.Right, node.Height, node.Greatest, node.Order) = (null, null, 1, notifier.Last, _order++);
        _root = Insert(_root, node);
        Count++;
    }

    public void Remove(MmuIntervalNotifier notifier)
    {
        _root = Remove(_root, notifier.Node);
        Count--;
    }

    public bool Overlaps(ulong start, ulong last)
    {
        Node? node = _root;
        while (node is not null && node.Greatest >= start)
        {
            // If the left side reaches the range, it has an overlap or nothing that starts later has one either.
            if (node.Left is not null && node.Left.Greatest >= start)
                node = node.Left;
            else if (node.Notifier.Start > last)
                return false;
            else if (node.Notifier.Last >= start)
                return true;
            else
                node = node.Right;
        }
        return false;
    }

    /// <summary>Visits the notifiers that overlap [start, last] in the order of their starts. The tree must not change meanwhile.</summary>
    public void Visit<TVisitor>(ulong start, ulong last, ref TVisitor visitor)
        where TVisitor : struct, IVisitor => Visit(_root, start, last, ref visitor);

    private static void Visit<TVisitor>(Node? node, ulong start, ulong last, ref TVisitor visitor)
        where TVisitor : struct, IVisitor
    {
        while (node is not null && node.Greatest >= start)
        {
            Visit(node.Left, start, last, ref visitor);
            if (node.Notifier.Start > last)
                return;
            if (node.Notifier.Last >= start)
                visitor.Visit(node.Notifier);
            node = node.Right;
        }
    }

    private static bool Precedes(Node a, Node b) =>
        a.Notifier.Start != b.Notifier.Start ? a.Notifier.Start < b.Notifier.Start : a.Order < b.Order;

    private static Node Insert(Node? at, Node node)
    {
        if (at is null)
            return node;
        if (Precedes(node, at))
            at.Left = Insert(at.Left, node);
        else
            at.Right = Insert(at.Right, node);
        return Balance(at);
    }

    private static Node? Remove(Node? at, Node node)
    {
        if (at is null)
            return null;
        if (at == node)
        {
            if (at.Left is null || at.Right is null)
                return at.Left ?? at.Right;
            Node next = at.Right;
            while (next.Left is not null)
                next = next.Left;
            next.Right = Remove(at.Right, next);
            next.Left = at.Left;
            return Balance(next);
        }
        if (Precedes(node, at))
            at.Left = Remove(at.Left, node);
        else
            at.Right = Remove(at.Right, node);
        return Balance(at);
    }

    private static int HeightOf(Node? node) => node?.Height ?? 0;

    private static void Update(Node node)
    {
        node.Height = 1 + Math.Max(HeightOf(node.Left), HeightOf(node.Right));
        node.Greatest = Math.Max(node.Notifier.Last, Math.Max(node.Left?.Greatest ?? 0, node.Right?.Greatest ?? 0));
    }

    private static Node Balance(Node node)
    {
        Update(node);
        int lean = HeightOf(node.Left) - HeightOf(node.Right);
        if (lean > 1)
        {
            if (HeightOf(node.Left!.Left) < HeightOf(node.Left.Right))
                node.Left = RotateLeft(node.Left);
            return RotateRight(node);
        }
        if (lean < -1)
        {
            if (HeightOf(node.Right!.Right) < HeightOf(node.Right.Left))
                node.Right = RotateRight(node.Right);
            return RotateLeft(node);
        }
        return node;
    }

    private static Node RotateRight(Node node)
    {
        Node top = node.Left!;
        (node.Left, top.Right) = (top.Right, node);
        Update(node);
        Update(top);
        return top;
    }

    private static Node RotateLeft(Node node)
    {
        Node top = node.Right!;
        (node.Right, top.Left) = (top.Left, node);
        Update(node);
        Update(top);
        return top;
    }
}

namespace Emulator.Kernel.Memory;

/// <summary>
/// The VMAs of an address space by address: an AVL tree whose nodes are the VMAs and know the largest hole below them, so that finding,
/// inserting, removing and searching room are all O(log n). The bounds of a VMA in the tree change only through <see cref="Resize"/>.
/// </summary>
/// <param name="memory">Where the VMAs are counted; null: nowhere.</param>
internal sealed class VmaTree(KernelMemory? memory = null)
{
    private Vma? _root;

    public int Count { get; private set; }

    public Vma? First => _root is null ? null : FindEndingAfter(0);

    /// <summary>The lowest VMA that ends after an address: the one that contains it, or else the next (Linux's <c>find_vma</c>).</summary>
    public Vma? FindEndingAfter(ulong address)
    {
        Vma? found = null;
        for (Vma? node = _root; node is not null;)
        {
            if (node.End > address)
            {
                found = node;
                if (node.Start <= address)
                    break;
                node = node.Left;
            }
            else
            {
                node = node.Right;
            }
        }
        return found;
    }

    /// <summary>The VMA that contains an address.</summary>
    public Vma? Find(ulong address) => FindEndingAfter(address) is { } vma && vma.Start <= address ? vma : null;

    /// <summary>The lowest VMA that overlaps [start, end).</summary>
    public Vma? FindIntersection(ulong start, ulong end) => FindEndingAfter(start) is { } vma && vma.Start < end ? vma : null;

    /// <summary>The highest VMA that starts below an address.</summary>
    public Vma? FindStartingBefore(ulong address)
    {
        Vma? found = null;
        for (Vma? node = _root; node is not null;)
        {
            if (node.Start < address)
            {
                found = node;
                node = node.Right;
            }
            else
            {
                node = node.Left;
            }
        }
        return found;
    }

    public Vma? Next(Vma vma) => FindEndingAfter(vma.End);

    public Vma? Previous(Vma vma) => FindStartingBefore(vma.Start);

    public void Insert(Vma vma)
    {
        vma.Left = vma.Right = null;
        _root = Insert(_root, vma);
        Count++;
        memory?.Charge(KernelMemory.Mapping);
    }

    public void Remove(Vma vma)
    {
        _root = Remove(_root, vma);
        vma.Left = vma.Right = null;
        Count--;
        memory?.Uncharge(KernelMemory.Mapping);
    }

    /// <summary>Moves the bounds of a VMA; its neighbours must leave room.</summary>
    public void Resize(Vma vma, ulong start, ulong end)
    {
        ulong key = vma.Start;
        vma.Start = start;
        vma.End = end;
        Refresh(_root!, vma, key);
    }

    /// <summary>The highest start of a hole of <paramref name="length"/> bytes inside [low, high), keeping stacks' guard gaps.</summary>
    public bool TryFindHighestGap(ulong length, ulong low, ulong high, out ulong start)
    {
        start = 0;
        return high >= low && length <= high - low && HighestGap(_root, length, low, high, 0, ulong.MaxValue, ref start);
    }

    /// <summary>The lowest start of a hole of <paramref name="length"/> bytes inside [low, high).</summary>
    public bool TryFindLowestGap(ulong length, ulong low, ulong high, out ulong start)
    {
        start = 0;
        return high >= low && length <= high - low && LowestGap(_root, length, low, high, 0, ulong.MaxValue, ref start);
    }

    // The hole [gapStart, gapEnd) surrounds the subtree: it ends the neighbours on both sides of it.
    private static bool HighestGap(Vma? node, ulong length, ulong low, ulong high, ulong gapStart, ulong gapEnd, ref ulong start)
    {
        ulong from = Math.Max(low, gapStart), to = Math.Min(high, gapEnd);
        if (to < from || to - from < length)
            return false;
        if (node is null)
        {
            start = to - length;
            return true;
        }
        if (!MayHold(node, length, gapStart, gapEnd))
            return false;
        return HighestGap(node.Right, length, low, high, node.End, gapEnd, ref start)
            || HighestGap(node.Left, length, low, high, gapStart, node.StartWithGap, ref start);
    }

    private static bool LowestGap(Vma? node, ulong length, ulong low, ulong high, ulong gapStart, ulong gapEnd, ref ulong start)
    {
        ulong from = Math.Max(low, gapStart), to = Math.Min(high, gapEnd);
        if (to < from || to - from < length)
            return false;
        if (node is null)
        {
            start = from;
            return true;
        }
        if (!MayHold(node, length, gapStart, gapEnd))
            return false;
        return LowestGap(node.Left, length, low, high, gapStart, node.StartWithGap, ref start)
            || LowestGap(node.Right, length, low, high, node.End, gapEnd, ref start);
    }

    private static bool MayHold(Vma node, ulong length, ulong gapStart, ulong gapEnd) =>
        node.SubtreeGap >= length
        || (node.SubtreeStart > gapStart && node.SubtreeStart - gapStart >= length)
        || (gapEnd > node.SubtreeEnd && gapEnd - node.SubtreeEnd >= length);

    private static int HeightOf(Vma? node) => node?.Height ?? 0;

    private static void Update(Vma node)
    {
        Vma? left = node.Left, right = node.Right;
        node.Height = Math.Max(HeightOf(left), HeightOf(right)) + 1;
        node.SubtreeStart = left?.SubtreeStart ?? node.StartWithGap;
        node.SubtreeEnd = right?.SubtreeEnd ?? node.End;
        ulong gap = 0;
        if (left is not null)
            gap = Math.Max(left.SubtreeGap, Distance(left.SubtreeEnd, node.StartWithGap));
        if (right is not null)
            gap = Math.Max(gap, Math.Max(right.SubtreeGap, Distance(node.End, right.SubtreeStart)));
        node.SubtreeGap = gap;
    }

    private static ulong Distance(ulong from, ulong to) => to > from ? to - from : 0;

    private static Vma Insert(Vma? node, Vma vma)
    {
        if (node is null)
        {
            Update(vma);
            return vma;
        }
        if (vma.Start < node.Start)
            node.Left = Insert(node.Left, vma);
        else
            node.Right = Insert(node.Right, vma);
        return Balance(node);
    }

    private static Vma? Remove(Vma? node, Vma vma)
    {
        if (node is null)
            return null;
        if (node != vma)
        {
            if (vma.Start < node.Start)
                node.Left = Remove(node.Left, vma);
            else
                node.Right = Remove(node.Right, vma);
            return Balance(node);
        }
        if (node.Left is null || node.Right is null)
            return node.Left ?? node.Right;
        Vma successor = node.Right;
        while (successor.Left is not null)
            successor = successor.Left;
        Vma? right = Remove(node.Right, successor);
        successor.Left = node.Left;
        successor.Right = right;
        return Balance(successor);
    }

    private static void Refresh(Vma node, Vma vma, ulong key)
    {
        if (node != vma)
            Refresh((key < node.Start ? node.Left : node.Right)!, vma, key);
        Update(node);
    }

    private static Vma Balance(Vma node)
    {
        Update(node);
        int balance = HeightOf(node.Left) - HeightOf(node.Right);
        if (balance > 1)
        {
            if (HeightOf(node.Left!.Left) < HeightOf(node.Left.Right))
                node.Left = RotateLeft(node.Left);
            return RotateRight(node);
        }
        if (balance < -1)
        {
            if (HeightOf(node.Right!.Right) < HeightOf(node.Right.Left))
                node.Right = RotateRight(node.Right);
            return RotateLeft(node);
        }
        return node;
    }

    private static Vma RotateRight(Vma node)
    {
        Vma left = node.Left!;
        node.Left = left.Right;
        left.Right = node;
        Update(node);
        Update(left);
        return left;
    }

    private static Vma RotateLeft(Vma node)
    {
        Vma right = node.Right!;
        node.Right = right.Left;
        right.Left = node;
        Update(node);
        Update(right);
        return right;
    }
}

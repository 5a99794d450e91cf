using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The frames of a page cache by page index: a radix tree of 64-way nodes that grows upwards with the largest index (Linux's xarray).
/// A leaf slot is four bytes, so that a populated page costs little beyond its <see cref="Page"/>. Not synchronised, not even for reading:
/// the leaf used last is kept at hand, because most uses go from page to page. Indices are the guest's; a node takes host memory only on the way to a page that is
/// there, eleven levels at most.
/// </summary>
internal sealed class PageIndex
{
    private const int Bits = 6;
    private const int Fanout = 1 << Bits;

    private sealed class Node(int level)
    {
        public readonly object?[]? Children = level > 0 ? new object?[Fanout] : null;
        public readonly uint[]? Frames = level == 0 ? new uint[Fanout] : null;
        public int Used;
    }

    private Node? _root;
    private int _level;
    private Node? _leaf;
    private ulong _leafStart;

    /// <summary>Pages present.</summary>
    public long Count { get; private set; }

    public bool TryGet(ulong index, out Pfn frame)
    {
        uint value = FindLeaf(index)?.Frames![Slot(index, 0)] ?? 0;
        frame = new Pfn(value);
        return value != 0;
    }

    /// <summary>Enters a page where none is.</summary>
    public void Add(ulong index, Pfn frame)
    {
        Node leaf = FindLeaf(index) ?? MakeLeaf(index);
        leaf.Frames![Slot(index, 0)] = checked((uint)frame.Value);
        leaf.Used++;
        Count++;
    }

    private Node? FindLeaf(ulong index)
    {
        if (_leaf is not null && _leafStart == Start(index))
            return _leaf;
        Node? node = Fits(index) ? _root : null;
        for (int level = _level; level > 0 && node is not null; level--)
            node = (Node?)node.Children![Slot(index, level)];
        if (node is not null)
            (_leaf, _leafStart) = (node, Start(index));
        return node;
    }

    private Node MakeLeaf(ulong index)
    {
        while (!Fits(index))
            Grow();
        Node node = _root ??= new Node(_level);
        for (int level = _level; level > 0; level--)
        {
            ref object? child = ref node.Children![Slot(index, level)];
            if (child is null)
            {
                child = new Node(level - 1);
                node.Used++;
            }
            node = (Node)child;
        }
        return node;
    }

    /// <summary>Removes the page at <paramref name="index"/> if there is one.</summary>
    public bool Remove(ulong index, out Pfn frame)
    {
        if (!TryGet(index, out frame))
            return false;
        Count--;
        if (_leaf!.Used > 1)
        {
            _leaf.Used--;
            _leaf.Frames![Slot(index, 0)] = 0;
            return true;
        }
        _leaf = null;
        if (Prune(_root!, _level, index))
        {
            _root = null;
            _level = 0;
        }
        return true;
    }

    /// <summary>The first page present at or after <paramref name="index"/>.</summary>
    public bool TryGetNext(ulong index, out ulong found, out Pfn frame)
    {
        if (TryGet(index, out frame))
        {
            found = index;
            return true;
        }
        found = 0;
        return _root is not null && Fits(index) && Next(_root, _level, 0, index, ref found, ref frame);
    }

    private static ulong Start(ulong index) => index & ~(ulong)(Fanout - 1);

    private static int Slot(ulong index, int level) => (int)(index >> (level * Bits)) & (Fanout - 1);

    private bool Fits(ulong index) => (_level + 1) * Bits >= 64 || index >> ((_level + 1) * Bits) == 0;

    private void Grow()
    {
        _level++;
        if (_root is null)
            return;
        Node parent = new(_level) { Used = 1 };
        parent.Children![0] = _root;
        _root = parent;
    }

    /// <summary>Clears one entry below <paramref name="node"/>; true when the node has become empty.</summary>
    private static bool Prune(Node node, int level, ulong index)
    {
        if (level == 0)
            node.Frames![Slot(index, 0)] = 0;
        else if (Prune((Node)node.Children![Slot(index, level)]!, level - 1, index))
            node.Children[Slot(index, level)] = null;
        else
            return false;
        return --node.Used == 0;
    }

    private static bool Next(Node node, int level, ulong prefix, ulong from, ref ulong found, ref Pfn frame)
    {
        for (int slot = from > prefix ? Slot(from, level) : 0; slot < Fanout; slot++)
        {
            ulong start = prefix | (ulong)slot << (level * Bits);
            if (level == 0)
            {
                if (node.Frames![slot] == 0)
                    continue;
                found = start;
                frame = new Pfn(node.Frames[slot]);
                return true;
            }
            if (node.Children![slot] is Node child && Next(child, level - 1, start, from, ref found, ref frame))
                return true;
        }
        return false;
    }
}

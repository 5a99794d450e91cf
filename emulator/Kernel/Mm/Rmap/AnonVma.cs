using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// What the anonymous pages of a VMA, and of its copies by fork, have in common (Linux's <c>anon_vma</c>): the VMAs in which a page that
/// names it may be mapped. A child's VMA belongs to all of its parent's and to one of its own, which its new pages name, so that those are
/// looked for in the child only.
/// </summary>
internal sealed class AnonVma
{
    public AnonVma(uint number, AnonVma? parent)
    {
        Number = number;
        Parent = parent ?? this;
        Root = parent?.Root ?? this;
        Parent.Children++;
    }

    /// <summary>The number by which <see cref="Page.Owner"/> names it.</summary>
    public uint Number { get; }

    public AnonVma Root { get; }

    public AnonVma Parent { get; }

    /// <summary>Guards the chains of the whole tree and the bounds of their VMAs; that of the <see cref="Root"/> is the one used.</summary>
    public RwSemaphore Lock { get; } = new(LockClass.AnonVma);

    /// <summary>Child nodes, a root itself included.</summary>
    public int Children { get; set; }

    /// <summary>VMAs whose <see cref="Vma.AnonVma"/> this is.</summary>
    public int ActiveVmas { get; set; }

    /// <summary>The memberships, parents before their copies: a walk that comes too early for what fork copies meanwhile has yet to see the original.</summary>
    public AnonVmaChain? First { get; private set; }

    private AnonVmaChain? _last;

    public bool IsEmpty => First is null;

    public void Add(AnonVmaChain chain)
    {
        chain.Previous = _last;
        if (_last is null)
            First = chain;
        else
            _last.Next = chain;
        _last = chain;
    }

    public void Remove(AnonVmaChain chain)
    {
        if (chain.Previous is null)
            First = chain.Next;
        else
            chain.Previous.Next = chain.Next;
        if (chain.Next is null)
            _last = chain.Previous;
        else
            chain.Next.Previous = chain.Previous;
    }
}

/// <summary>The membership of one VMA in one <see cref="AnonVma"/> (<c>anon_vma_chain</c>).</summary>
internal sealed class AnonVmaChain(Vma vma, AnonVma anonVma)
{
    public Vma Vma { get; } = vma;

    public AnonVma AnonVma { get; } = anonVma;

    /// <summary>Neighbours in the list of <see cref="AnonVma"/>.</summary>
    public AnonVmaChain? Next { get; set; }

    public AnonVmaChain? Previous { get; set; }

    /// <summary>The VMA's next older membership.</summary>
    public AnonVmaChain? Older { get; set; }
}

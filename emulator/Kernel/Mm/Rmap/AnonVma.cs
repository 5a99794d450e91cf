using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// What the anonymous pages of a VMA, and of its copies by fork, have in common (Linux's <c>anon_vma</c>): the VMAs in which a page that
/// names it may be mapped.
/// </summary>
internal sealed class AnonVma
{
    public AnonVma(uint number, AnonVma? parent)
    {
        Number = number;
        Parent = parent ?? this;
        Root = parent?.Root ?? this;
    }

    /// <summary>The number by which <see cref="Page.Owner"/> names it; never reused in a machine.</summary>
    public uint Number { get; }

    public AnonVma Root { get; }

    public AnonVma Parent { get; }

    /// <summary>Guards the chains of the whole tree and the bounds of their VMAs; that of the <see cref="Root"/> is the one used.</summary>
    public RwSemaphore Lock { get; } = new(LockClass.AnonVma);

    /// <summary>Child nodes, the root itself included.</summary>
    public int Children;

    /// <summary>VMAs whose <see cref="Vma.AnonVma"/> this is.</summary>
    public int ActiveVmas;

    /// <summary>The chains, parents before their copies: a walk that misses what fork copied meanwhile has yet to see the original.</summary>
    public AnonVmaChain? First, Last;

    public bool IsEmpty => First is null;
}

/// <summary>The membership of one VMA in one <see cref="AnonVma"/> (<c>anon_vma_chain</c>).</summary>
internal sealed class AnonVmaChain(Vma vma, AnonVma anonVma)
{
    public Vma Vma { get; } = vma;

    public AnonVma AnonVma { get; } = anonVma;

    /// <summary>Neighbours in the list of <see cref="AnonVma"/>.</summary>
    public AnonVmaChain? Next, Previous;

    /// <summary>The VMA's next older membership.</summary>
    public AnonVmaChain? Older;
}

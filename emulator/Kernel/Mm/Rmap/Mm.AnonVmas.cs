using System.Buffers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>Which <see cref="AnonVma"/>s the VMAs belong to (mm/rmap.c, the anon_vma functions).</summary>
public sealed partial class Mm
{
    /// <summary>
    /// Gives a VMA an <see cref="AnonVma"/> before its first private page (anon_vma_prepare): a neighbour's that it could merge with later,
    /// or a new one. The mmap lock is held for reading at least.
    /// </summary>
    private void PrepareAnonVma(Task? task, Vma vma)
    {
        if (vma.AnonVma is not null)
            return;
        AnonVma anonVma = FindMergeableAnonVma(vma) ?? NewAnonVma(parent: null);
        anonVma.Root.Lock.LockWrite(task);
        using (PageTableLock.Enter(task))
        {
            // Another thread may have faulted in the same VMA.
            if (vma.AnonVma is null)
            {
                vma.AnonVma = anonVma;
                anonVma.ActiveVmas++;
                Link(vma, anonVma);
            }
        }
        anonVma.Root.Lock.UnlockWrite();
        if (vma.AnonVma != anonVma && anonVma.IsEmpty)
            _system.AnonVmas.Remove(anonVma.Number);
    }

    private AnonVma NewAnonVma(AnonVma? parent)
    {
        var anonVma = new AnonVma(Pages.NextOwner(), parent);
        _system.AnonVmas.Add(anonVma.Number, anonVma);
        return anonVma;
    }

    /// <summary>find_mergeable_anon_vma: mprotect may have split what will be one VMA again, if both parts have one AnonVma.</summary>
    private AnonVma? FindMergeableAnonVma(Vma vma)
    {
        if (Vmas.Next(vma) is { } next && IsCompatible(vma, next) && IsUnshared(next))
            return next.AnonVma;
        return Vmas.Previous(vma) is { } previous && IsCompatible(previous, vma) && IsUnshared(previous) ? previous.AnonVma : null;
    }

    /// <summary>anon_vma_compatible: neighbours that differ in what mprotect changes only.</summary>
    private static bool IsCompatible(Vma low, Vma high) =>
        low.End == high.Start && low.File == high.File && low.Cache == high.Cache
        && ((low.Flags ^ high.Flags) & ~VmFlags.Access) == 0 && high.PageOffset == low.PageOffset + low.Pages;

    /// <summary>reusable_anon_vma: a VMA cloned from a parent would drag its whole family along.</summary>
    private static bool IsUnshared(Vma vma) => vma.AnonVmaChains is { Older: null };

    /// <summary>
    /// is_mergeable_anon_vma: pages are looked for by one AnonVma, so VMAs join that have the same, or of which one has none and the other,
    /// <paramref name="vma"/>, shares with no parent.
    /// </summary>
    private static bool CanMergeAnon(AnonVma? a, AnonVma? b, Vma? vma) => a == b || ((a is null || b is null) && (vma is null || IsUnshared(vma)));

    /// <summary>A VMA's first membership is part of it; each generation of forks adds another one. Fork has asked whether there is room.</summary>
    private static long CostOf(AnonVmaChain chain) => chain.Older is null ? 0 : KernelMemory.Chain;

    private static void Link(Vma vma, AnonVma anonVma)
    {
        var chain = new AnonVmaChain(vma, anonVma) { Older = vma.AnonVmaChains };
        vma.AnonVmaChains = chain;
        anonVma.Add(chain);
        vma.Mm._system.KernelMemory.Charge(CostOf(chain));
    }

    /// <summary>
    /// Makes a VMA belong wherever another one does (anon_vma_clone). In a fork it may take over an AnonVma that has lost its VMAs, so
    /// that a process that forks and exits in turn with its child does not grow an endless chain.
    /// </summary>
    private static void CloneAnonVmas(Task? task, Vma target, Vma source)
    {
        if (source.AnonVmaChains is not { } newest)
            return;
        RwSemaphore rootLock = newest.AnonVma.Root.Lock;
        rootLock.LockWrite(task);
        CloneChains(target, source);
        rootLock.UnlockWrite();
    }

    /// <summary>As <see cref="CloneAnonVmas"/>; the caller holds the root's lock.</summary>
    private static void CloneChains(Vma target, Vma source)
    {
        int count = 0;
        for (AnonVmaChain? chain = source.AnonVmaChains; chain is not null; chain = chain.Older)
            count++;
        // Oldest first; not by recursion, for there are as many as processes that forked one another.
        AnonVmaChain[] chains = ArrayPool<AnonVmaChain>.Shared.Rent(count);
        int at = count;
        for (AnonVmaChain? chain = source.AnonVmaChains; chain is not null; chain = chain.Older)
            chains[--at] = chain;
        foreach (AnonVmaChain chain in chains.AsSpan(0, count))
            CloneChain(target, source, chain);
        ArrayPool<AnonVmaChain>.Shared.Return(chains, clearArray: true);
        if (target.AnonVma is not null)
            target.AnonVma.ActiveVmas++;
    }

    private static void CloneChain(Vma target, Vma source, AnonVmaChain chain)
    {
        Link(target, chain.AnonVma);
        if (target.AnonVma is null && source.AnonVma is not null && chain.AnonVma is { Children: < 2, ActiveVmas: 0 })
            target.AnonVma = chain.AnonVma;
    }

    /// <summary>The child's VMA belongs where its parent's does, and to an AnonVma of its own (anon_vma_fork).</summary>
    private void ForkAnonVmas(Task? task, Vma child, Vma parent)
    {
        if (parent.AnonVma is not { } parentAnonVma)
            return;
        CloneAnonVmas(task, child, parent);
        if (child.AnonVma is not null)
            return;
        RwSemaphore rootLock = parentAnonVma.Root.Lock;
        rootLock.LockWrite(task);
        AnonVma own = NewAnonVma(parentAnonVma);
        own.ActiveVmas = 1;
        child.AnonVma = own;
        Link(child, own);
        rootLock.UnlockWrite();
    }

    /// <summary>The VMA goes, its pages are unmapped: it belongs nowhere any more (unlink_anon_vmas).</summary>
    private void UnlinkAnonVmas(Task? task, Vma vma)
    {
        if (vma.AnonVmaChains is not { } newest)
            return;
        RwSemaphore rootLock = newest.AnonVma.Root.Lock;
        rootLock.LockWrite(task);
        UnlinkChains(vma);
        rootLock.UnlockWrite();
    }

    /// <summary>As <see cref="UnlinkAnonVmas"/>; the caller holds the root's lock.</summary>
    private void UnlinkChains(Vma vma)
    {
        for (AnonVmaChain? chain = vma.AnonVmaChains; chain is not null; chain = chain.Older)
        {
            chain.AnonVma.Remove(chain);
            _system.KernelMemory.Uncharge(CostOf(chain));
            if (!chain.AnonVma.IsEmpty)
                continue;
            chain.AnonVma.Parent.Children--;
            _system.AnonVmas.Remove(chain.AnonVma.Number);
        }
        if (vma.AnonVma is not null)
            vma.AnonVma.ActiveVmas--;
        vma.AnonVma = null;
        vma.AnonVmaChains = null;
    }

    /// <summary>
    /// Holds the reverse maps that lead to a VMA while its bounds change (vma_prepare): a walk finds it as it was or as it is, never a page
    /// in neither half.
    /// </summary>
    private readonly ref struct RmapScope
    {
        private readonly RwSemaphore? _file, _anon;

        public RmapScope(Task? task, Vma vma, Vma? other = null)
        {
            _file = vma.Cache?.MappingsLock;
            _anon = (vma.AnonVmaChains ?? other?.AnonVmaChains)?.AnonVma.Root.Lock;
            _file?.LockWrite(task);
            _anon?.LockWrite(task);
        }

        public void Dispose()
        {
            _anon?.UnlockWrite();
            _file?.UnlockWrite();
        }
    }
}

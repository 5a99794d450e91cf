using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm.Properties;

/// <summary>The operations: what the kernel is asked, what the model makes of it, and whether the answers agree.</summary>
internal sealed unsafe partial class MmSequence
{
    /// <summary>One step; null or what is wrong with its answer.</summary>
    private string? Do(Step step, bool brokenMirror)
    {
        int process = step.Process % _processes.Count;
        SimulatedProcess p = _processes[process];
        (int start, int pages, int a, int b) = (step.Start, step.Pages, step.A, step.B);
        if (step.Op is not (Op.Read or Op.Write))
            (start, pages) = Widen(p.Model, start, pages);
        return step.Op switch
        {
            Op.MapAnon => Map(p, start, pages, a, null, 0, shared: false),
            Op.MapShared => Map(p, start, pages, a, null, 0, shared: true),
            Op.MapFile => Map(p, start, pages, a, _files[b % 2], b / 2 % FilePages, shared: b / 48 % 2 == 0),
            Op.MapHuge => MapHuge(p, start / AddressSpaceModel.HugePages % 2 * AddressSpaceModel.HugePages, a, shared: b % 2 == 0),
            Op.Unmap => Unmap(p, start, pages),
            Op.Protect => Protect(p, start, pages, ProtOf(a)),
            Op.Move => Move(p, start, pages, a % (Step.AreaPages - pages + 1), keep: false),
            Op.MoveAndKeep => Move(p, start, pages, a % (Step.AreaPages - pages + 1), keep: true),
            Op.Resize => Resize(p, start, 1 + a % pages, pages, grow: b % 2 == 0),
            Op.Grow => Grow(p, start, pages, a % 64, b),
            Op.DontNeed => Advise(p, start, pages, MADV_DONTNEED, Discard),
            Op.Free => Advise(p, start, pages, MADV_FREE, static page => page.Object is not null ? -Errno.EINVAL : Weaken(page)),
            Op.Cold => Advise(p, start, pages, MADV_COLD, static page => page.Locked || page.Huge ? -Errno.EINVAL : 0),
            Op.PageOut => Advise(p, start, pages, MADV_PAGEOUT, static page => page.Locked || page.Huge ? -Errno.EINVAL : 0),
            Op.Populate => Populate(p, start, pages, write: a % 2 == 0),
            Op.Remove => Advise(p, start, pages, MADV_REMOVE, Remove),
            Op.HugePage => Advise(p, start, pages, MADV_HUGEPAGE, static _ => 0),
            Op.NoHugePage => Advise(p, start, pages, MADV_NOHUGEPAGE, static _ => 0),
            Op.Collapse => Collapse(p, start, pages),
            Op.ForkAdvice => AdviseFork(p, start, pages, a),
            Op.Lock => Lock(p, start, pages),
            Op.Unlock => Unlock(p, start, pages),
            Op.Read or Op.Write => Touch(process, start, pages, a, step.Op == Op.Write),
            Op.Fork => Fork(p),
            Op.Exit => _processes.Count > 1 ? Exit(process, removeFirst: a % 2 == 0) : null,
            Op.FileWrite => WriteFile(a % 2, b % FilePages),
            Op.Truncate => Truncate(a % 2, b % (FilePages + 1)),
            Op.Punch => Punch(a % 2, b % FilePages, 1 + b / FilePages % 8),
            Op.Compact => Compact(),
            Op.Migrate => Migrate(p, start, pages),
            Op.Split => Split(p, start),
            Op.Pin => Take(p, start, Math.Min(pages, 12), a, pin: true),
            Op.Get => Take(p, start, Math.Min(pages, 12), a, pin: false),
            Op.Unpin => GiveSomeBack(a),
            Op.Dma => WriteThroughPins(),
            Op.Remote => AccessRemotely(p, start, Math.Min(pages, 12), write: a % 2 == 0, force: a % 3 == 0),
            Op.Attach => Attach(p, brokenMirror),
            Op.Mirror => p.Devices?.UseMirror(start, Math.Min(pages, 16), a % 3),
            Op.Device => p.Devices?.UseWalker(Sample(start, pages, a), write: b % 2 == 0),
            Op.ToDevice => ToDevice(p, start, pages),
            Op.FromDevice => FromDevice(p, 0, Step.AreaPages),
            Op.Leave => LeaveVcpu(process, a),
            _ => throw new ArgumentOutOfRangeException(nameof(step)),
        };
    }

    /// <summary>A range that begins or ends inside a hugetlb page covers all of it: anything else is refused.</summary>
    private static (int Start, int Pages) Widen(AddressSpaceModel model, int start, int pages)
    {
        int end = start + pages;
        if (model.IsInsideHuge(start))
            start &= -AddressSpaceModel.HugePages;
        if (model.IsInsideHuge(end))
            end = (end | (AddressSpaceModel.HugePages - 1)) + 1;
        return (start, end - start);
    }

    private static string? Expect(string what, long actual, long expected) => actual == expected ? null : $"{what} answered {actual}, expected {expected}";

    private static int ProtOf(int r) => (r % 4) switch { 0 => PROT_NONE, 1 => PROT_READ, _ => PROT_READ | PROT_WRITE };

    private static ulong Bytes(int pages) => (ulong)pages << 12;

    private string? Map(SimulatedProcess p, int start, int pages, int r, (OpenFile File, ShmemPageCache Cache, ModelObject Model)? file, int index, bool shared)
    {
        int flags = MAP_FIXED | (file is null ? MAP_ANONYMOUS : 0) | (shared ? MAP_SHARED : MAP_PRIVATE);
        int prot = ProtOf(r);
        long result = p.Mm.Mmap(_task, AddressOf(start), Bytes(pages), prot, flags, file?.File, (ulong)index);
        ModelObject? behind = file?.Model ?? (shared ? new ModelObject(pages) : null);
        for (int i = 0; i < pages; i++)
            p.Model[start + i] = new ModelPage { Readable = prot != 0, Writable = (prot & PROT_WRITE) != 0, Shared = shared, Object = behind, Index = index + i };
        return Expect("mmap", result, (long)AddressOf(start));
    }

    /// <summary>A hugetlb page; the pool may have none to promise, and then all is as before.</summary>
    private string? MapHuge(SimulatedProcess p, int start, int r, bool shared)
    {
        int flags = MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB | (shared ? MAP_SHARED : MAP_PRIVATE) | (r / 4 % 2 == 0 ? MAP_NORESERVE : 0);
        int prot = ProtOf(r), pages = AddressSpaceModel.HugePages;
        long result = p.Mm.Mmap(_task, AddressOf(start), Bytes(pages), prot, flags, null, 0);
        if (result == -Errno.ENOMEM)
            return null;
        var behind = new ModelObject(pages);
        for (int i = 0; i < pages; i++)
            p.Model[start + i] = new ModelPage { Readable = prot != 0, Writable = (prot & PROT_WRITE) != 0, Shared = shared, Object = behind, Index = i, Huge = true };
        return Expect("mmap of hugetlb", result, (long)AddressOf(start));
    }

    private string? Unmap(SimulatedProcess p, int start, int pages)
    {
        p.Model.Remove(start, pages);
        return Expect("munmap", p.Mm.Munmap(_task, AddressOf(start), Bytes(pages)), 0);
    }

    private string? Protect(SimulatedProcess p, int start, int pages, int prot)
    {
        long result = p.Mm.Mprotect(_task, AddressOf(start), Bytes(pages), prot);
        // What lies before the first hole is changed.
        for (int i = 0; i < pages && p.Model[start + i] is { } page; i++)
        {
            // Pages that were locked when they could not be written are copied now rather than at the first write (mprotect_fixup).
            if (page is { Locked: true, Shared: false, Writable: false, IsBeyondEnd: false } && (prot & PROT_WRITE) != 0)
                page.ForWrite();
            (page.Readable, page.Writable) = (prot != 0, (prot & PROT_WRITE) != 0);
        }
        return Expect("mprotect", result, p.Model.Covers(start, pages) ? 0 : -Errno.ENOMEM);
    }

    private string? Move(SimulatedProcess p, int start, int pages, int target, bool keep)
    {
        if (target < start + pages && start < target + pages)
            return null;
        // With MREMAP_DONTUNMAP Linux unlocks all of the VMA that a part is moved of, and miscounts what is locked.
        if (keep && p.Model[start] is { Locked: true })
            return null;
        bool huge = p.Model[start] is { Huge: true };
        if (p.Model.IsInsideHuge(target) || p.Model.IsInsideHuge(target + pages) || (huge && pages % AddressSpaceModel.HugePages != 0))
            return null;
        int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (keep ? MREMAP_DONTUNMAP : 0);
        long result = p.Mm.Mremap(_task, AddressOf(start), Bytes(pages), Bytes(pages), flags, AddressOf(target));
        if (p.Model[start] is null)
            return Expect("mremap of nothing", result, -Errno.EFAULT);
        if (huge && target % AddressSpaceModel.HugePages != 0)
            return Expect("mremap of hugetlb", result, -Errno.EINVAL);
        // Linux empties the target before it finds out whether the source is one mapping.
        p.Model.Remove(target, pages);
        if (result == -Errno.EFAULT)
            return null;
        if (huge && keep)
            return Expect("mremap of hugetlb", result, -Errno.EINVAL);
        for (int i = 0; i < pages; i++)
        {
            ModelPage page = p.Model[start + i]!;
            p.Model[target + i] = page;
            ModelPage? left = keep ? page.Clone() : null;
            if (left is not null)
                (left.Private, left.MayVanish) = (null, false);
            p.Model[start + i] = left;
        }
        return Expect("mremap", result, (long)AddressOf(target));
    }

    private string? Resize(SimulatedProcess p, int start, int few, int many, bool grow)
    {
        if (p.Model[start] is { Huge: true })
        {
            // Lengths are rounded up to huge pages, and what follows this mapping with them.
            if (many % AddressSpaceModel.HugePages != 0)
                return null;
            few = (few + AddressSpaceModel.HugePages - 1) & -AddressSpaceModel.HugePages;
            if (grow && few < many)
                return Expect("mremap of hugetlb", p.Mm.Mremap(_task, AddressOf(start), Bytes(few), Bytes(many), 0, 0), -Errno.EINVAL);
        }
        else if (p.Model.IsInsideHuge(start + few))
        {
            return null;
        }
        (int from, int to) = grow ? (few, many) : (many, few);
        long result = p.Mm.Mremap(_task, AddressOf(start), Bytes(from), Bytes(to), 0, 0);
        if (p.Model[start] is not { } first)
            return Expect("mremap of nothing", result, -Errno.EFAULT);
        if (grow && few < many)
        {
            // Whether there is one mapping to grow, and room behind it, is for VMAs to know.
            if (result is -Errno.EFAULT or -Errno.ENOMEM)
                return null;
            if (!p.Model.Covers(start, from) || p.Model.All.Count() != p.Model.Mapped)
                return "a mapping with a hole grew";
            for (int i = from; i < to; i++)
            {
                if (p.Model[start + i] is not null)
                    return "a mapping grew over another one";
                ModelPage page = p.Model[start + from - 1]!.Clone();
                (page.Private, page.MayVanish, page.Index) = (null, false, first.Index + i);
                p.Model[start + i] = page;
            }
            FaultInLocked(p, start + from, to - from);
        }
        else
        {
            p.Model.Remove(start + to, from - to);
        }
        return Expect("mremap", result, (long)AddressOf(start));
    }

    /// <summary>mremap that may move: if it does, the mapping is brought back to some other place of the area, which may be its old one.</summary>
    private string? Grow(SimulatedProcess p, int start, int from, int more, int r)
    {
        int to = Math.Min(from + more, Step.AreaPages - start), target = r % (Step.AreaPages - to + 1);
        if (p.Model.IsInsideHuge(target) || p.Model.IsInsideHuge(target + to) || (p.Model[start] is { Huge: true } && from % AddressSpaceModel.HugePages != 0))
            return null;
        long result = p.Mm.Mremap(_task, AddressOf(start), Bytes(from), Bytes(to), MREMAP_MAYMOVE, 0);
        if (p.Model[start] is not { } first)
            return Expect("mremap of nothing", result, -Errno.EFAULT);
        if (first.Huge && to > from)
            return Expect("mremap of hugetlb", result, -Errno.EINVAL);
        if (to == from)
            return Expect("mremap to the same size", result, (long)AddressOf(start));
        if (result is -Errno.EFAULT or -Errno.ENOMEM or -Errno.EAGAIN)
            return null;
        if (!p.Model.Covers(start, from))
            return "a mapping with a hole grew";
        var moved = new ModelPage[to];
        for (int i = 0; i < to; i++)
        {
            moved[i] = i < from ? p.Model[start + i]! : p.Model[start + from - 1]!.Clone();
            if (i >= from)
                (moved[i].Private, moved[i].MayVanish, moved[i].Index) = (null, false, first.Index + i);
        }
        p.Model.Remove(start, from);
        if (result == (long)AddressOf(start))
        {
            target = start;
            if (Enumerable.Range(start, to).Any(i => p.Model[i] is not null))
                return "a mapping grew over another one";
        }
        else
        {
            result = p.Mm.Mremap(_task, (ulong)result, Bytes(to), Bytes(to), MREMAP_MAYMOVE | MREMAP_FIXED, AddressOf(target));
            p.Model.Remove(target, to);
        }
        for (int i = 0; i < to; i++)
            p.Model[target + i] = moved[i];
        FaultInLocked(p, target + from, to - from);
        return Expect("mremap", result, (long)AddressOf(target));
    }

    /// <summary>madvise: page by page, for a VMA's pages all say the same. An error ends it, a hole makes it fail in the end.</summary>
    private string? Advise(SimulatedProcess p, int start, int pages, int advice, Func<ModelPage, long> change)
    {
        long result = p.Mm.Madvise(_task, AddressOf(start), Bytes(pages), advice), expected = 0;
        for (int i = start; i < start + pages; i++)
        {
            long error = p.Model[i] is { } page ? change(page) : -Errno.ENOMEM;
            if (error == 0)
                continue;
            expected = error;
            if (error != -Errno.ENOMEM)
                break;
        }
        return Expect($"madvise {advice}", result, expected);
    }

    private static long Discard(ModelPage page)
    {
        if (page.Locked)
            return -Errno.EINVAL;
        page.Private = null;
        page.MayVanish = false;
        return 0;
    }

    private static long Weaken(ModelPage page)
    {
        if (page.Locked)
            return -Errno.EINVAL;
        page.MayVanish = page.Private is not null;
        return 0;
    }

    private static long Remove(ModelPage page)
    {
        if (page.Locked || page.Object is null)
            return -Errno.EINVAL;
        if (!page.Shared)
            return -Errno.EACCES;
        page.Object.Punch(page.Index, 1);
        return 0;
    }

    private string? AdviseFork(SimulatedProcess p, int start, int pages, int a) => (a % 4) switch
    {
        0 => Advise(p, start, pages, MADV_DONTFORK, static page => SetTo(ref page.NotForked, true)),
        1 => Advise(p, start, pages, MADV_DOFORK, static page => SetTo(ref page.NotForked, false)),
        2 => Advise(p, start, pages, MADV_WIPEONFORK, static page => page.Object is not null ? -Errno.EINVAL : SetTo(ref page.WipedOnFork, true)),
        _ => Advise(p, start, pages, MADV_KEEPONFORK, static page => SetTo(ref page.WipedOnFork, false)),
    };

    private static long SetTo(ref bool flag, bool value)
    {
        flag = value;
        return 0;
    }

    private string? Populate(SimulatedProcess p, int start, int pages, bool write)
    {
        long result = p.Mm.Madvise(_task, AddressOf(start), Bytes(pages), write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
        int done = p.Model.Accessible(start, pages, write);
        for (int i = start; write && i < start + done; i++)
            p.Model[i]!.ForWrite();
        if (result == -Errno.EFAULT && p.Model.HasHuge(start, pages))
            return null;
        long expected = done == pages ? 0
            : p.Model[start + done] is not { } page ? -Errno.ENOMEM
            : !page.Allows(write) ? -Errno.EINVAL
            : -Errno.EFAULT;
        return Expect("populate", result, expected);
    }

    /// <summary>Whether pages are collapsed is the kernel's business; that nothing changes is the program's.</summary>
    private string? Collapse(SimulatedProcess p, int start, int pages)
    {
        p.Mm.Madvise(_task, AddressOf(start), Bytes(pages), MADV_COLLAPSE);
        return null;
    }

    private string? Lock(SimulatedProcess p, int start, int pages)
    {
        long result = p.Mm.Mlock(_task, AddressOf(start), Bytes(pages), onFault: false);
        int locked = 0;
        while (locked < pages && p.Model[start + locked] is { } page)
        {
            page.Locked = !page.Huge;
            locked++;
        }
        bool all = locked == pages && FaultInLocked(p, start, pages);
        if (result == -Errno.ENOMEM && p.Model.HasHuge(start, pages))
            return null;
        return Expect("mlock", result, all ? 0 : -Errno.ENOMEM);
    }

    /// <summary>populate_vma_page_range: private pages that can be written are copied at once; what can not be had ends it.</summary>
    private static bool FaultInLocked(SimulatedProcess p, int start, int pages)
    {
        for (int i = start; i < start + pages; i++)
        {
            ModelPage page = p.Model[i]!;
            if (!page.Locked && !page.Huge)
                return true;
            if (!page.Readable || page.IsBeyondEnd)
                return false;
            if (page.Writable && !page.Shared)
                page.ForWrite();
        }
        return true;
    }

    private string? Unlock(SimulatedProcess p, int start, int pages)
    {
        for (int i = start; i < start + pages && p.Model[i] is { } page; i++)
            page.Locked = false;
        return Expect("munlock", p.Mm.Munlock(_task, AddressOf(start), Bytes(pages)), p.Model.Covers(start, pages) ? 0 : -Errno.ENOMEM);
    }

    private string? Touch(int process, int start, int pages, int offset, bool write)
    {
        foreach (int page in Sample(start, pages, offset))
        {
            if (Access(process, page, write) is { } wrong)
                return wrong;
        }
        return null;
    }

    private string? Fork(SimulatedProcess p)
    {
        if (_processes.Count == MaxProcesses)
            return null;
        if (p.Mm.Fork(_task) is not { } child)
            return p.Model.HasHuge(0, Step.AreaPages) ? null : "fork found no memory";
        _processes.Add(new SimulatedProcess(child, p.Model.Fork()));
        return null;
    }

    /// <summary>The process's vCPUs let go of it first, or are lazy on what is left of it.</summary>
    private string? Exit(int process, bool removeFirst)
    {
        SimulatedProcess p = _processes[process];
        foreach (Hardware.Smp.Vcpu vcpu in _machine.Platform.Vcpus)
        {
            if (_machine.MemorySystem.Shootdown.StateOf(vcpu.Id).LoadedMm != p.Mm)
                continue;
            if (removeFirst)
                SwitchToKernel(vcpu);
            else
                _machine.MemorySystem.Shootdown.EnterLazy(vcpu);
        }
        if (removeFirst)
            p.Devices?.Detach();
        p.Mm.Put(_task);
        string? wrong = removeFirst ? null : p.Devices?.CheckReleased();
        if (!removeFirst)
            p.Devices?.Detach();
        _processes.RemoveAt(process);
        return wrong;
    }

    private string? LeaveVcpu(int process, int how)
    {
        if (how % 2 == 0)
            SwitchToKernel(VcpuOf(process));
        else
            _machine.MemorySystem.Shootdown.EnterLazy(VcpuOf(process));
        return null;
    }

    private string? WriteFile(int which, int page)
    {
        (_, ShmemPageCache cache, ModelObject model) = _files[which];
        if (page >= model.Pages)
            return null;
        model.At(page).Value = ++_lastMark;
        return Expect("write", cache.Write(Bytes(page), PageOf(_lastMark), task: null), 4096);
    }

    private string? Truncate(int which, int pages)
    {
        (_, ShmemPageCache cache, ModelObject model) = _files[which];
        long result = cache.Truncate(_task, Bytes(pages));
        model.Truncate(pages);
        // What lies beyond the end goes, copies of private mappings too.
        foreach (ModelPage page in _processes.SelectMany(static p => p.Model.All).Where(p => p.Object == model && p.IsBeyondEnd))
            page.Private = null;
        return Expect("ftruncate", result, 0);
    }

    private string? Punch(int which, int first, int pages)
    {
        (_, ShmemPageCache cache, ModelObject model) = _files[which];
        model.Punch(first, pages);
        return Expect("fallocate", cache.PunchHole(_task, Bytes(first), Bytes(pages)), 0);
    }

    /// <summary>Every page that may moves to another frame.</summary>
    private string? Compact()
    {
        _machine.MemorySystem.Migration.Compact(_task);
        return null;
    }

    private string? Split(SimulatedProcess p, int start)
    {
        using (p.Mm.EnterRead(_task))
            p.Mm.SplitHuge(_task, AddressOf(start));
        return null;
    }
}

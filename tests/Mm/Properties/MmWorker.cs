using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using KernelMutex = Emulator.Kernel.Tasks.Locks.Mutex;
using LockClass = Emulator.Kernel.Tasks.Locks.LockClass;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Properties;

/// <summary>One thread of <see cref="MmParallelTests"/>: what it does to its range of the address space, and what it must see there.</summary>
internal sealed unsafe class MmWorker(Machine machine, int number, OpenFile file, Random random)
{
    public const int Pages = 48, FilePages = 16;
    private const ulong Base = 0x4000_0000;

    private static readonly LockClass MirrorLock = new("worker_mirror_lock");

    private readonly AddressSpaceModel _model = new(Pages);
    private readonly ModelObject _object = new(int.MaxValue);
    private readonly Mirror _mirror = new();
    private readonly ulong[] _pfns = new ulong[Pages];
    private readonly List<KernelThread> _children = [];
    private ulong _lastMark = (ulong)(number + 1) << 32;

    /// <summary>Ranges of workers are neighbours, so that they share page tables.</summary>
    public static ulong AddressOf(int number, int page) => Base + ((ulong)(number * Pages + page) << Pfn.Shift);

    private ulong At(int page) => AddressOf(number, page);

    public void Attach(Task task) => Assert.That(_mirror.Insert(task, task.Mm, At(0), Pages << Pfn.Shift), Is.Zero);

    public void Detach(Task task) => _mirror.Remove(task);

    public void Run(Task task, int steps)
    {
        for (int i = 0; i < steps; i++)
        {
            int start = random.Next(Pages), pages = Math.Min(1 + random.Next(8), Pages - start);
            Do(task, start, pages);
            Check(task, start);
        }
        foreach (KernelThread child in _children)
            child.Join(task);
    }

    public void CheckAll(Task task)
    {
        for (int page = 0; page < Pages; page++)
            Check(task, page);
    }

    private void Do(Task task, int start, int pages)
    {
        Kernel.Memory.Mm mm = task.Mm;
        ulong at = At(start), length = (ulong)pages << Pfn.Shift;
        switch (random.Next(18))
        {
            case 0 or 1:
                Map(task, start, pages, MAP_PRIVATE | MAP_ANONYMOUS, null);
                break;
            case 2:
                Map(task, start, pages, random.Next(2) == 0 ? MAP_SHARED : MAP_PRIVATE, file);
                break;
            case 3:
                Assert.That(mm.Munmap(task, at, length), Is.Zero);
                _model.Remove(start, pages);
                break;
            case 4:
                Protect(task, start, pages, random.Next(3));
                break;
            case 5:
                mm.Madvise(task, at, length, MADV_DONTNEED);
                for (int i = start; i < start + pages; i++)
                {
                    if (_model[i] is { } page)
                        page.Private = null;
                }
                break;
            case 6:
                mm.Madvise(task, at, length, MADV_PAGEOUT);
                break;
            case 7:
                Fork(task);
                break;
            case 8:
                Pin(task, start, pages);
                break;
            case 9:
                int first = random.Next(FilePages);
                Assert.That(((ShmemPageCache)file.Mapping!).PunchHole(task, (ulong)(number * FilePages + first) << Pfn.Shift, Pfn.Size), Is.Zero);
                _object.Punch(number * FilePages + first, 1);
                break;
            case 10 or 11:
                UseMirror(task, start, pages, write: random.Next(2) == 0);
                break;
            default:
                for (int i = start; i < start + pages; i++)
                    Write(task, i);
                break;
        }
    }

    private void Map(Task task, int start, int pages, int flags, OpenFile? behind)
    {
        int index = number * FilePages + random.Next(FilePages);
        // No further than its own part of the file.
        if (behind is not null)
            pages = Math.Min(pages, (number + 1) * FilePages - index);
        long result = task.Mm.Mmap(task, At(start), (ulong)pages << Pfn.Shift, PROT_READ | PROT_WRITE, flags | MAP_FIXED, behind, behind is null ? 0 : (ulong)index);
        Assert.That(result, Is.EqualTo((long)At(start)));
        for (int i = 0; i < pages; i++)
        {
            _model[start + i] = new ModelPage
            {
                Readable = true,
                Writable = true,
                Shared = (flags & MAP_SHARED) != 0,
                Object = behind is null ? null : _object,
                Index = index + i,
            };
        }
    }

    private void Protect(Task task, int start, int pages, int rights)
    {
        task.Mm.Mprotect(task, At(start), (ulong)pages << Pfn.Shift, rights switch { 0 => PROT_NONE, 1 => PROT_READ, _ => PROT_READ | PROT_WRITE });
        for (int i = start; i < start + pages && _model[i] is { } page; i++)
            (page.Readable, page.Writable) = (rights > 0, rights > 1);
    }

    private void Write(Task task, int page)
    {
        ulong mark = ++_lastMark;
        bool possible = _model.Accessible(page, 1, write: true) == 1;
        Assert.That(task.TryWrite(At(page), mark) && task.TryWrite(At(page) + 4088, mark), Is.EqualTo(possible), $"write of {At(page):x}");
        if (possible)
            _model[page]!.Write(mark);
    }

    private void Check(Task task, int page)
    {
        bool possible = _model.Accessible(page, 1, write: false) == 1;
        ulong last = 0;
        Assert.That(task.TryRead(At(page), out ulong first) && task.TryRead(At(page) + 4088, out last), Is.EqualTo(possible), $"read of {At(page):x}");
        if (possible)
            Assert.That((first, last), Is.EqualTo((_model[page]!.Read(), _model[page]!.Read())), $"{At(page):x}");
    }

    /// <summary>A child sees private memory as it was, whatever the parent does meanwhile, and changes its own.</summary>
    private void Fork(Task task)
    {
        if (_children.Count == 3)
        {
            _children[0].Join(task);
            _children.RemoveAt(0);
        }
        (int, ulong)[] expected = [.. Enumerable.Range(0, Pages).Where(i => _model[i] is { Object: null, Readable: true }).Select(i => (i, _model[i]!.Read()))];
        bool[] writable = [.. Enumerable.Range(0, Pages).Select(i => _model[i] is { Writable: true })];
        _children.Add(machine.Fork(task, child =>
        {
            foreach ((int page, ulong value) in expected)
            {
                Assert.That(child.TryRead(At(page), out ulong seen) ? seen : ulong.MaxValue, Is.EqualTo(value), $"{At(page):x} in a child");
                if (writable[page])
                    child.TryWrite(At(page), ~value);
            }
        }));
    }

    /// <summary>What is written through a pin is seen at the address, whatever happened to the page meanwhile.</summary>
    private void Pin(Task task, int start, int pages)
    {
        Pfn[] frames = new Pfn[pages];
        int taken = task.Mm.PinUserPages(task, At(start), FollFlags.Write | FollFlags.Longterm, frames);
        Assert.That(Math.Max(taken, 0), Is.EqualTo(_model.Accessible(start, pages, write: true)), $"pins at {At(start):x}");
        task.Mm.Madvise(task, At(start), (ulong)pages << Pfn.Shift, MADV_PAGEOUT);
        for (int i = 0; i < taken; i++)
        {
            task.PreemptionPoint();
            WriteFrame(frames[i], start + i);
            Check(task, start + i);
        }
        if (taken > 0)
            task.Mm.UnpinUserPages(frames.AsSpan(0, taken), dirty: true);
    }

    private void WriteFrame(Pfn frame, int page)
    {
        ulong mark = ++_lastMark;
        var data = (ulong*)machine.Memory.Pointer(frame);
        Volatile.Write(ref data[0], mark);
        Volatile.Write(ref data[511], mark);
        _model[page]!.Write(mark);
    }

    /// <summary>The canonical loop of Documentation/mm/hmm.rst; the device reads, or writes, under its lock.</summary>
    private void UseMirror(Task task, int start, int pages, bool write)
    {
        if (_model.Accessible(start, pages, write) < pages)
            return;
        while (true)
        {
            Array.Clear(_pfns);
            var range = new HmmRange(task.Mm, At(start), At(start + pages), _pfns.AsMemory(0, pages))
            {
                Notifier = _mirror,
                NotifierSequence = _mirror.ReadBegin(task),
                DefaultFlags = write ? HmmPfn.ReqFault | HmmPfn.ReqWrite : HmmPfn.ReqFault,
            };
            int error;
            using (task.Mm.EnterRead(task))
                error = Hmm.RangeFault(task, range);
            if (error == -Errno.EBUSY)
                continue;
            Assert.That(error, Is.Zero);
            using (_mirror.Lock.Enter(task))
            {
                if (_mirror.ReadRetry(range.NotifierSequence))
                    continue;
                for (int i = 0; i < pages; i++)
                    UseFrame(HmmRange.FrameOf(_pfns[i]), start + i, write);
                return;
            }
        }
    }

    private void UseFrame(Pfn frame, int page, bool write)
    {
        if (write)
        {
            PageAllocator.SetFlags(ref machine.Pages[machine.Pages.HeadOf(frame)], PageFlags.Dirty);
            WriteFrame(frame, page);
        }
        else
        {
            Assert.That(*(ulong*)machine.Memory.Pointer(frame), Is.EqualTo(_model[page]!.Read()), $"{At(page):x} as the mirror has it");
        }
    }

    /// <summary>Keeps no table: what it has found it uses at once, under the lock.</summary>
    private sealed class Mirror : MmuIntervalNotifier
    {
        public KernelMutex Lock { get; } = new(MirrorLock);

        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            if (range.Blockable)
                Lock.Lock(task!);
            else if (!Lock.TryLock(task!))
                return false;
            SetSequence(sequence);
            Lock.Unlock();
            return true;
        }
    }
}

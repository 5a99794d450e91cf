using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>Upstream's: pages are pinned for the buffer's life, and it shows these, whatever the file has meanwhile.</summary>
internal sealed class PinnedUdmabuf : Udmabuf
{
    private readonly Pfn[] _frames;
    private readonly List<Observer> _observers = [];

    public PinnedUdmabuf(Machine machine, UdmabufItem[] items)
        : base(machine, items) => _frames = new Pfn[PageCount];

    public override bool CachesMappings => true;

    public override int Populate(Task task)
    {
        for (ulong page = 0; page < PageCount; page++)
        {
            int error = Lookup(task, page, FillsHuge, out Pfn frame);
            if (error != 0)
                return error;
            bool pinned = Pages.TryPin(frame);
            Pages.Put(frame);
            if (!pinned)
                return -Errno.ENOMEM;
            _frames[page] = frame;
        }
        foreach (UdmabufItem item in Items)
        {
            var observer = new Observer(this, item);
            observer.Register(task, item.File, item.First, item.Last);
            _observers.Add(observer);
        }
        return 0;
    }

    public override FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong page)
    {
        vma.Mm.InsertPfn(task, vma, address, _frames[page]);
        return FaultOutcome.Done;
    }

    public override int Map(Task? task, DmaBufAttachment attachment, DmaDirection direction, out SgTable? table)
    {
        table = MakeTable(_frames, direction, pinned: true);
        return 0;
    }

    public override void Unmap(Task? task, DmaBufAttachment attachment, SgTable table)
    {
    }

    public override void Release(Task? task)
    {
        foreach (Observer observer in _observers)
            observer.Unregister(task);
        foreach (Pfn frame in _frames)
        {
            if (frame != default)
                Pages.Unpin(frame);
        }
        base.Release(task);
    }

    /// <summary>The kernel has no such thing: it lets the emulator say what the pins make of a change.</summary>
    private sealed class Observer(PinnedUdmabuf buffer, UdmabufItem item) : FileNotifier
    {
        public override void InvalidateStart(Task? task, in FileNotifyRange range)
        {
            if (item.TryIntersect(range.First, range.Last, out ulong from, out ulong to))
                buffer.ReportKept(from, to, "mappings and devices");
        }

        public override void InvalidateEnd(Task? task, in FileNotifyRange range)
        {
        }
    }
}

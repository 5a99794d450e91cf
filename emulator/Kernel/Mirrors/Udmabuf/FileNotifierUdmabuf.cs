using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>A buffer that hears from its files, by offset, when pages leave them. It pins the pages that it has, so that nobody else moves them.</summary>
internal class FileNotifierUdmabuf(Machine machine, UdmabufItem[] items) : RevocableUdmabuf(machine, items)
{
    private readonly List<Notifier> _notifiers = [];

    protected override int Find(Task task, ulong page, out Pfn frame)
    {
        // A hole that a punch left is filled, of whatever kind the file; only where the buffer was made does the profile decide.
        int error = Lookup(task, page, FillsHuge || Buffer is not null, out frame);
        if (error != 0)
            return error;
        bool pinned = Pages.TryPin(frame);
        Pages.Put(frame);
        return pinned ? 0 : -Errno.ENOMEM;
    }

    protected override void Drop(Pfn frame) => Pages.Unpin(frame);

    protected override int Subscribe(Task task)
    {
        foreach (UdmabufItem item in Items)
        {
            // The file's pages are looked up again even when all its descriptors are closed.
            item.File.GetUser();
            var notifier = new Notifier(this, item);
            notifier.Register(task, item.File, item.First, item.Last);
            _notifiers.Add(notifier);
        }
        return 0;
    }

    protected override void Unsubscribe(Task? task)
    {
        foreach (Notifier notifier in _notifiers)
            notifier.Unregister(task);
    }

    public override void Release(Task? task)
    {
        base.Release(task);
        foreach (UdmabufItem item in Items.AsSpan(0, _notifiers.Count))
            item.File.PutUser();
    }

    /// <summary>Pages [first, last] of the buffer leave their file.</summary>
    protected virtual void OnStart(Task? task, ulong first, ulong last) => BeginChange(task, first, last, lasts: true);

    private sealed class Notifier(FileNotifierUdmabuf buffer, UdmabufItem item) : FileNotifier
    {
        public override void InvalidateStart(Task? task, in FileNotifyRange range)
        {
            if (item.TryIntersect(range.First, range.Last, out ulong from, out ulong to))
                buffer.OnStart(task, from, to);
        }

        public override void InvalidateEnd(Task? task, in FileNotifyRange range)
        {
            if (item.TryIntersect(range.First, range.Last, out _, out _))
                buffer.EndChange(task);
        }
    }
}

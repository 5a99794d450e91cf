using System.Globalization;
using System.Text;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>An epoll instance (fs/eventpoll.c): watched files, and of them those that may be ready.</summary>
/// <remarks>
/// Lock order: a file's wait queue, then <see cref="_lock"/>, then <see cref="_changed"/>. A file's Poll, which takes its queue's lock,
/// is therefore never called with <see cref="_lock"/> held.
/// In bounds: polls and wake-ups call themselves once for each level of instances that watch each other. Who adds an instance to another one holds
/// <see cref="Vfs.EpollNesting"/> from the look at both until the web is changed, so no two make a circle or a longer chain of what each finds in order.
/// </remarks>
internal sealed class EventPoll(int flags) : EventFile(flags)
{
    public const uint EPOLLEXCLUSIVE = 1u << 28, EPOLLWAKEUP = 1u << 29, EPOLLONESHOT = 1u << 30, EPOLLET = 1u << 31;
    private const uint Modes = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET;

    /// <summary>EP_MAX_NESTS: how deep epoll instances may watch each other.</summary>
    private const int MaxNesting = 4;

    /// <summary>
    /// How many other instances one may watch. With <see cref="MaxNesting"/> it bounds the ways through a web of instances, all of which a poll
    /// may go (reverse_path_check, which counts the ways).
    /// </summary>
    private const int MaxWatchedInstances = 16;

    private readonly Lock _lock = new();
    private readonly Dictionary<(OpenFile File, int Fd), Item> _items = [];
    private readonly LinkedList<Item> _ready = new();
    private readonly WaitQueue _changed = new();
    private int _readyCount;
    private int _watchedInstances;
    private Memory.KernelMemory? _memory;

    /// <summary>EPOLL_CTL_ADD.</summary>
    public long Add(Task task, OpenFile file, int fd, uint events, ulong data)
    {
        var item = new Item(this, file, fd, events, data);
        long error;
        if (file is EventPoll inner)
        {
            lock (task.Machine.Vfs.EpollNesting)
                error = CanWatch(inner) ? Enter(task, item) : -Errno.ELOOP;
        }
        else
        {
            error = Enter(task, item);
        }
        if (error == 0 && (file.Poll(task, item) & item.Wanted) != 0)
            MarkReady(item);
        return error;
    }

    private long Enter(Task task, Item item)
    {
        OpenFile file = item.File;
        lock (_lock)
        {
            if (_items.ContainsKey((file, item.Fd)))
                return -Errno.EEXIST;
            if (file is EventPoll && _watchedInstances == MaxWatchedInstances)
                return -Errno.EINVAL;
            if (!task.Machine.KernelMemory.TryCharge(Memory.KernelMemory.WatchedFile))
                return -Errno.ENOSPC;
            _memory = task.Machine.KernelMemory;
            _watchedInstances += file is EventPoll ? 1 : 0;
            _items.Add((file, item.Fd), item);
        }
        file.AddWatcher(item);
        return 0;
    }

    /// <summary>EPOLL_CTL_MOD: also arms again what EPOLLONESHOT disarmed.</summary>
    public long Modify(Task task, OpenFile file, int fd, uint events, ulong data)
    {
        Item? item;
        lock (_lock)
        {
            if (!_items.TryGetValue((file, fd), out item))
                return -Errno.ENOENT;
            if ((item.Events & EPOLLEXCLUSIVE) != 0)
                return -Errno.EINVAL;
            item.Events = events;
            item.Data = data;
        }
        if ((file.Poll(task, null) & item.Wanted) != 0)
            MarkReady(item);
        return 0;
    }

    /// <summary>EPOLL_CTL_DEL.</summary>
    public long Delete(OpenFile file, int fd)
    {
        Item? item;
        lock (_lock)
        {
            if (!_items.TryGetValue((file, fd), out item))
                return -Errno.ENOENT;
        }
        Remove(item);
        file.RemoveWatcher(item);
        return 0;
    }

    /// <summary>Forgets a watched file, which may be going away itself.</summary>
    internal void Remove(Item item)
    {
        item.LeaveQueues();
        lock (_lock)
        {
            if (_items.Remove((item.File, item.Fd)))
            {
                _memory!.Uncharge(Memory.KernelMemory.WatchedFile);
                _watchedInstances -= item.File is EventPoll ? 1 : 0;
            }
            item.Removed = true;
            TakeFromReady(item);
        }
    }

    private void TakeFromReady(Item item)
    {
        if (item.ReadyNode is null)
            return;
        _ready.Remove(item.ReadyNode);
        item.ReadyNode = null;
        _readyCount--;
    }

    private void MarkReady(Item item)
    {
        lock (_lock)
        {
            if (item.Removed || item.ReadyNode is not null || (item.Events & ~Modes) == 0)
                return;
            item.ReadyNode = _ready.AddLast(item);
            _readyCount++;
        }
        _changed.WakeAll();
    }

    /// <summary>Waits for events and stores them.</summary>
    /// <returns>How many, 0 when the deadline passed, or -EINTR.</returns>
    public long Wait(Task task, Span<(uint Events, ulong Data)> into, long deadlineNs)
    {
        while (true)
        {
            int n = Collect(task, into);
            if (n > 0)
                return n;
            switch (_changed.Wait(task, this, static e => Volatile.Read(ref e._readyCount) > 0, interruptible: true, deadlineNs))
            {
                case WaitResult.TimedOut: return 0;
                case WaitResult.Interrupted: return -Errno.EINTR;
            }
        }
    }

    /// <summary>Looks at each file that may be ready. Level-triggered ones stay on the list, so that the next call looks again.</summary>
    private int Collect(Task task, Span<(uint Events, ulong Data)> into)
    {
        int count = 0, left;
        bool again = false;
        lock (_lock)
            left = _readyCount;
        while (count < into.Length && left-- > 0)
        {
            Item item;
            lock (_lock)
            {
                if (_ready.First is not { } first)
                    break;
                item = first.Value;
                TakeFromReady(item);
            }
            PollEvents events = item.PollNow(task);
            if (events == 0)
                continue;
            lock (_lock)
            {
                if (item.Removed)
                    continue;
                into[count++] = ((uint)events, item.Data);
                if ((item.Events & EPOLLONESHOT) != 0)
                {
                    item.Events &= Modes;
                    TakeFromReady(item);
                }
                else if ((item.Events & EPOLLET) == 0 && item.ReadyNode is null)
                {
                    item.ReadyNode = _ready.AddLast(item);
                    _readyCount++;
                    again = true;
                }
            }
        }
        // Who looked while the list was empty went to sleep (ep_done_scan).
        if (again)
            _changed.WakeAll();
        return count;
    }

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(_changed);
        Item[] candidates;
        lock (_lock)
            candidates = [.. _ready];
        foreach (Item item in candidates)
        {
            if (item.PollNow(task) != 0)
                return PollEvents.Readable;
        }
        return PollEvents.None;
    }

    private Item[] Snapshot()
    {
        lock (_lock)
            return [.. _items.Values];
    }

    /// <summary>
    /// Whether a web in which this instance watches another one has no circle and no more than <see cref="MaxNesting"/> levels: those from the other one
    /// down, and those from this one up (ep_loop_check, ep_get_upwards_depth_proc).
    /// </summary>
    private bool CanWatch(EventPoll inner)
    {
        int below = Levels(inner, static instance => instance.Snapshot().Select(static item => item.File), this);
        int above = Levels(this, static instance => instance.Watchers(), inner);
        return below + above <= MaxNesting;
    }

    /// <summary>Levels of instances that are reached in one direction, the first one included, but no more than are too many; that, too, if another one is among them.</summary>
    private static int Levels(EventPoll from, Func<EventPoll, IEnumerable<OpenFile>> next, EventPoll other)
    {
        HashSet<EventPoll> level = [from];
        for (int levels = 0; ; levels++)
        {
            if (level.Count == 0)
                return levels;
            if (levels > MaxNesting || level.Contains(other))
                return MaxNesting + 1;
            level = [.. level.SelectMany(next).OfType<EventPoll>()];
        }
    }

    protected override void Release()
    {
        foreach (Item item in Snapshot())
        {
            Remove(item);
            item.File.RemoveWatcher(item);
        }
    }

    internal override void DescribeTo(StringBuilder text)
    {
        foreach (Item item in Snapshot())
            text.Append(CultureInfo.InvariantCulture, $"tfd: {item.Fd,8} events: {item.Events,8:x} data: {item.Data,16:x}  pos:0 ino:0 sdev:0\n");
    }

    /// <summary>One watched file. It hears of changes through the queues that the file's Poll registered it with.</summary>
    internal sealed class Item(EventPoll owner, OpenFile file, int fd, uint events, ulong data) : PollTable
    {
        private readonly EventPoll _owner = owner;
        private readonly List<(WaitQueue Queue, Waiter Waiter)> _queues = [];

        public EventPoll Owner => _owner;

        public OpenFile File { get; } = file;

        public int Fd { get; } = fd;

        public uint Events { get; set; } = events;

        public ulong Data { get; set; } = data;

        public LinkedListNode<Item>? ReadyNode { get; set; }

        public bool Removed { get; set; }

        /// <summary>Errors and hang-ups are always reported, unless the item is disarmed.</summary>
        public PollEvents Wanted => (Events & ~Modes) == 0 ? 0 : (PollEvents)(Events & ~Modes) | PollEvents.Error | PollEvents.HangUp;

        public PollEvents PollNow(Task task)
        {
            if (!File.TryGet())
                return 0;
            PollEvents events = File.Poll(task, null) & Wanted;
            File.Put();
            return events;
        }

        public override void Add(WaitQueue queue)
        {
            var waiter = new Listener(this);
            lock (_queues)
                _queues.Add((queue, waiter));
            queue.Add(waiter);
        }

        public void LeaveQueues()
        {
            (WaitQueue Queue, Waiter Waiter)[] queues;
            lock (_queues)
            {
                queues = [.. _queues];
                _queues.Clear();
            }
            foreach ((WaitQueue queue, Waiter waiter) in queues)
                queue.Remove(waiter);
        }

        /// <summary>Removes this from its epoll instance: the file is being closed.</summary>
        public void FileClosed() => _owner.Remove(this);

        private sealed class Listener(Item item) : Waiter(null)
        {
            public override void Notify() => item._owner.MarkReady(item);
        }
    }
}

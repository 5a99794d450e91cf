using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>Who hears when pages leave the file.</summary>
public abstract unsafe partial class PageCache
{
    private static readonly LockClass NotifierClass = new("file_notifier");

    /// <summary>Leaf. Guards the two below.</summary>
    private readonly Lock _notifierLock = new();

    /// <summary>Replaced, never changed.</summary>
    private FileNotifier[] _notifiers = [];

    /// <summary>Announced changes that have not ended.</summary>
    private int _activeChanges;

    private WaitQueue? _changeEnded;

    /// <summary>What lockdep takes for a lock that changes hold, since registrations wait for them.</summary>
    private LockMap? _notifierMap;

    internal void AddNotifier(Task? task, FileNotifier notifier) => ChangeNotifiers(task, list => [.. list, notifier]);

    internal void RemoveNotifier(Task? task, FileNotifier notifier) => ChangeNotifiers(task, list => [.. list.Where(other => other != notifier)]);

    /// <summary>Changes the list while no announced change is under way, so that each start has its end and nobody comes in between.</summary>
    private void ChangeNotifiers(Task? task, Func<FileNotifier[], FileNotifier[]> change)
    {
        lock (_notifierLock)
        {
            _changeEnded ??= new WaitQueue();
            _notifierMap ??= new LockMap(NotifierClass);
        }
        using LockMap.Scope scope = _notifierMap.Enter(task);
        while (true)
        {
            lock (_notifierLock)
            {
                if (_activeChanges == 0)
                {
                    _notifiers = change(_notifiers);
                    return;
                }
            }
            if (task is null)
                SpinWait.SpinUntil(() => Volatile.Read(ref _activeChanges) == 0);
            else
                _changeEnded.Wait(task, this, static c => Volatile.Read(ref c._activeChanges) == 0, interruptible: false);
        }
    }

    /// <summary>Announces that pages leave the file, until the scope ends.</summary>
    private protected ChangeScope AnnounceChange(Task? task, ulong first, ulong last, FileNotifyEvent why)
    {
        var range = new FileNotifyRange(first, last, why);
        FileNotifier[] notifiers;
        lock (_notifierLock)
        {
            _activeChanges++;
            notifiers = _notifiers;
        }
        if (notifiers.Length == 0)
            return new ChangeScope(this, task, notifiers, range);
        using OperationScope operation = task.Operation("file_notifier start", first << 12, (last + 1) << 12);
        using LockMap.Scope scope = _notifierMap!.Enter(task);
        foreach (FileNotifier notifier in notifiers)
        {
            if (notifier.Overlaps(range))
                notifier.InvalidateStart(task, range);
        }
        return new ChangeScope(this, task, notifiers, range);
    }

    /// <summary>An announced change.</summary>
    private protected readonly ref struct ChangeScope(PageCache cache, Task? task, FileNotifier[] notifiers, FileNotifyRange range)
    {
        public void Dispose()
        {
            foreach (FileNotifier notifier in notifiers)
            {
                if (notifier.Overlaps(range))
                    notifier.InvalidateEnd(task, range);
            }
            WaitQueue? waiting;
            lock (cache._notifierLock)
            {
                cache._activeChanges--;
                waiting = cache._changeEnded;
            }
            waiting?.WakeAll();
        }
    }
}

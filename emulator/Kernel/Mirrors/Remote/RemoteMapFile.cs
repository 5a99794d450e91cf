using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// An open /dev/remote-map: pages of other processes in anonymous memory of the one that opened it, the client. Where <see cref="RemoteMapVariant.RfcV6"/>
/// does something else, it is said there.
/// </summary>
/// <remarks>
/// A mapped page is pinned for good (FOLL_PIN and FOLL_LONGTERM), flagged, and counted in both address spaces. The pin makes it stay the target's when that forks: the child
/// gets a copy. It does not make it stay at its address: what the target unmaps or discards is the client's alone from then on, and no longer what the target has there.
/// In bounds: addresses are whole pages of user space; a frame is remote once, so a machine has no more mappings than frames, each of some hundred bytes.
/// </remarks>
internal sealed class RemoteMapFile : OpenFile
{
    /// <summary>The number of miscellaneous devices, and one of those that are given out.</summary>
    public const uint Major = 10, Minor = 123;

    private readonly Machine _machine;
    private readonly Mm _client;
    private readonly ClientNotifier? _ending;

    /// <summary>Leaf. Guards the tree and the flags of its entries.</summary>
    private readonly Lock _lock = new();

    private readonly Dictionary<ulong, RemoteMapping> _mappings = [];
    private readonly WaitQueue _idle = new();

    private RemoteMapFile(Task task, int flags)
        : base(flags)
    {
        _machine = task.Machine;
        _client = task.Mm;
        if (IsPosted)
            _client.Get(); // So that its memory stays until the last one closes the file, whoever that is.
        else
            _ending = new ClientNotifier(this);
    }

    private RemoteMaps Maps => _machine.RemoteMaps;

    private PageAllocator Pages => _machine.Pages;

    private bool IsPosted => _machine.Options.RemoteMapVariant == RemoteMapVariant.RfcV6;

    /// <summary>remmap_dev_open.</summary>
    public static long Open(Task task, Files.Path path, int flags, out OpenFile? file)
    {
        var made = new RemoteMapFile(task, flags) { Path = path };
        int error = made._ending?.Register(task, task.Mm) ?? 0;
        file = error == 0 ? made : null;
        return error;
    }

    /// <summary>remmap_dev_ioctl.</summary>
    public override long Ioctl(Task task, uint command, ulong argument)
    {
        using OperationScope operation = task.Operation("remote-map ioctl");
        if (task.Mm != _client)
            return -Errno.EINVAL;
        return (RemoteMapIoctl)command switch
        {
            RemoteMapIoctl.Map => Map(task, argument),
            RemoteMapIoctl.Unmap => Unmap(task, argument),
            _ => -Errno.ENOTTY,
        };
    }

    private long Map(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out RemoteMapRequest request))
            return -Errno.EFAULT;
        if (!UserAccess.IsUserRange(request.Mapped, Pfn.Size) || !Layout.IsPageAligned(request.Requested) || !Layout.IsPageAligned(request.Mapped))
            return -Errno.EINVAL;
        int error = RemoteTarget.Find(_machine, request.Pid, out Mm? target);
        if (error != 0)
            return error;
        error = Map(task, target!, request);
        target!.Put(task);
        return error;
    }

    /// <summary>mm_remote_map_file; the caller is a user of the target.</summary>
    private int Map(Task task, Mm target, in RemoteMapRequest request)
    {
        var mapping = new RemoteMapping(target, request.Requested, request.Mapped);
        lock (_lock)
        {
            if (!_mappings.TryAdd(request.Mapped, mapping))
                return -Errno.EALREADY;
        }
        Maps.Count(RemoteMapCounter.PdbCount);
        // The RFC looks last whether the target is somebody else's, when the page is mapped already and can be read.
        int error = IsPosted ? 0 : Join(task, target, mapping);
        if (error == 0)
            error = MapPage(task, target, mapping);
        if (error == 0 && IsPosted && (error = Join(task, target, mapping)) != 0)
            UnmapPage(task, mapping);
        if (error == 0)
        {
            mapping.Notifier!.Add(mapping);
            lock (_lock)
            {
                mapping.IsMapped = true;
                mapping.IsBusy = false;
            }
            _idle.WakeAll();
            return 0;
        }
        Leave(task, mapping);
        Forget(mapping);
        return error;
    }

    private int Join(Task task, Mm target, RemoteMapping mapping)
    {
        int error = MmuNotifier.Get(task, target, static () => new RemoteTargetNotifier(), out RemoteTargetNotifier? notifier);
        if (error != 0)
            return error;
        if (!notifier!.TryJoin(_client))
        {
            notifier.Put(task);
            return -Errno.EINVAL;
        }
        mapping.Notifier = notifier;
        return 0;
    }

    private static void Leave(Task? task, RemoteMapping mapping)
    {
        if (mapping.Notifier is not { } notifier)
            return;
        mapping.Notifier = null;
        notifier.Leave(mapping);
        notifier.Put(task);
    }

    /// <summary>Takes an entry that is nobody's any more out of the tree.</summary>
    private void Forget(RemoteMapping mapping)
    {
        lock (_lock)
        {
            mapping.IsMapped = mapping.IsBusy = false;
            _mappings.Remove(mapping.Mapped);
        }
        Maps.Count(RemoteMapCounter.PdbCount, -1);
        _idle.WakeAll();
    }

    /// <summary>mm_remote_do_map.</summary>
    private int MapPage(Task task, Mm target, RemoteMapping mapping)
    {
        if (target.Unstable)
            return -Errno.EINVAL;
        int error = TakePage(task, target, mapping.Requested, out Pfn frame);
        if (error != 0)
            return error;
        error = Promote(task, frame, out RemotePage? page);
        if (error == 0)
        {
            error = _client.MapRemotePage(task, mapping.Mapped, page!, checksBounds: !IsPosted, Maps.CountReplaced);
            if (error != 0)
                Demote(page!);
        }
        if (error != 0)
        {
            GiveBack(frame, dirty: false);
            return error;
        }
        mapping.Page = page;
        Maps.Count(RemoteMapCounter.MapCount);
        return 0;
    }

    /// <summary>
    /// mm_remote_get_req: a page of the target, not part of a huge one (FOLL_SPLIT). What get_user_pages_remote refuses keeps its error, which is EFAULT where nothing is
    /// mapped; EBUSY: a huge page that somebody else holds.
    /// </summary>
    private int TakePage(Task task, Mm target, ulong address, out Pfn frame)
    {
        const int Tries = 100;
        const FollFlags How = FollFlags.Write | FollFlags.Force;
        Span<Pfn> pages = [default];
        for (int tries = 0; ; tries++)
        {
            // An ordinary reference does not keep fork from sharing the page, after which the target writes to another one.
            int taken = IsPosted ? target.GetUserPages(task, address, How, pages) : target.PinUserPages(task, address, How | FollFlags.Longterm, pages);
            frame = pages[0];
            if (taken <= 0)
                return taken == 0 ? -Errno.ENOENT : taken;
            if ((Pages[frame].Flags & (PageFlags.Head | PageFlags.Tail)) == 0 || !Pages[Pages.HeadOf(frame)].IsAnon)
                return 0;
            GiveBack(frame, dirty: false);
            if (tries == Tries || task.FatalSignalPending)
                return -Errno.EBUSY;
            _machine.MemorySystem.HugePages.SplitPage(task, frame);
            task.PreemptionPoint();
        }
    }

    private void GiveBack(Pfn frame, bool dirty)
    {
        if (!IsPosted)
            _client.UnpinUserPages([frame], dirty);
        else
            _client.PutPage(frame);
    }

    /// <summary>mm_remote_promote_page: the page becomes remote, which only one mapping can have done.</summary>
    private int Promote(Task task, Pfn frame, out RemotePage? page)
    {
        page = null;
        if (!Pages[frame].IsAnon)
            return -Errno.EINVAL;
        if ((Pages[frame].Flags & PageFlags.Remote) != 0)
            return -Errno.EALREADY;
        if (_machine.MemorySystem.AnonVmas.Find(Volatile.Read(ref Pages[frame].Owner)) is null)
            return -Errno.EINVAL;
        Pages.Locks.Lock(task, frame);
        var made = new RemotePage(frame, _client);
        bool first = _machine.MemorySystem.RemotePages.TryAdd(made);
        if (first)
            PageAllocator.SetFlags(ref Pages[frame], PageFlags.Remote);
        Pages.Locks.Unlock(frame);
        if (!first)
            return -Errno.EALREADY;
        page = made;
        Maps.Count(RemoteMapCounter.RpgCount);
        return 0;
    }

    /// <summary>mm_remote_revert_promote.</summary>
    private void Demote(RemotePage page)
    {
        PageAllocator.ClearFlags(ref Pages[page.Frame], PageFlags.Remote);
        _machine.MemorySystem.RemotePages.Remove(page);
        Maps.Count(RemoteMapCounter.RpgCount, -1);
    }

    private long Unmap(Task task, ulong address)
    {
        if (!UserAccess.IsUserRange(address, Pfn.Size) || !Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        RemoteMapping? mapping;
        lock (_lock)
            _mappings.TryGetValue(address, out mapping);
        if (mapping is null)
            return -Errno.ENOENT;
        if (!TakeBusy(task, mapping))
        {
            // The RFC does not drop the reference that it has taken to the entry.
            if (IsPosted)
                Maps.Count(RemoteMapCounter.PdbCount);
            return -Errno.EINTR;
        }
        if (!mapping.IsMapped)
        {
            lock (_lock)
                mapping.IsBusy = false;
            _idle.WakeAll();
            return -Errno.EALREADY;
        }
        Leave(task, mapping);
        long error = UnmapPage(task, mapping);
        Forget(mapping);
        return error;
    }

    /// <summary>page_db_begin_unmap: waits for whoever maps or unmaps it. False: killed.</summary>
    private bool TakeBusy(Task task, RemoteMapping mapping)
    {
        while (true)
        {
            bool taken = false;
            WaitResult result = _idle.Wait(task, (File: this, mapping), static s =>
            {
                lock (s.File._lock)
                    return !s.mapping.IsBusy;
            });
            lock (_lock)
            {
                if (!mapping.IsBusy)
                    taken = mapping.IsBusy = true;
            }
            if (taken)
                return true;
            if (result == WaitResult.Interrupted && task.FatalSignalPending)
                return false;
            // The one that is waited for may be waiting for this vCPU to flush.
            task.SpinOnce();
        }
    }

    /// <summary>Takes the page from the client and gives it back. Whether the client still has it makes no difference, nor whether the target lives.</summary>
    private int UnmapPage(Task? task, RemoteMapping mapping)
    {
        RemotePage page = mapping.Page!;
        bool found = _client.UnmapRemotePage(task, page);
        if (IsPosted && !found && UnmapFromTarget(task, mapping) is var error and not 0)
            return error;
        Finish(mapping);
        return 0;
    }

    /// <summary>What the RFC does when the client has lost the page: mm_remote_do_unmap_target, and what can go wrong with it.</summary>
    private int UnmapFromTarget(Task? task, RemoteMapping mapping)
    {
        if (mapping.Target is not { } target)
        {
            _machine.Violations.Report(task, RemoteMaps.NoNullTarget, $"mmget_not_zero(NULL) for the mapping at {mapping.Mapped:x}");
            return -Errno.EFAULT;
        }
        if (!target.TryGet())
            return -Errno.ENOENT;
        bool maps = target.MapsFrame(task, mapping.Requested, mapping.Page!.Frame);
        target.Put(task);
        if (maps)
            return 0;
        _machine.Violations.Report(task, RemoteMaps.PageIsRemote, $"{mapping.Requested:x} is another page, or none; {mapping.Page.Frame} is lost");
        return -Errno.ENOENT;
    }

    private void Finish(RemoteMapping mapping)
    {
        Demote(mapping.Page!);
        // The client's stores left their mark in its own entry only.
        GiveBack(mapping.Page!.Frame, dirty: true);
        Maps.Count(RemoteMapCounter.MapCount, -1);
    }

    /// <summary>The last user of the file is gone (mm_remote_db_file_release).</summary>
    protected override void Release()
    {
        Task? task = _machine.CurrentTask;
        if (IsPosted)
        {
            UnmapAll(task, alive: true);
            _client.Put(task);
            return;
        }
        if (_client.TryGet())
        {
            UnmapAll(task, alive: true);
            _client.Put(task);
        }
        _ending!.Unregister(task);
    }

    /// <summary>Gives everything back. Once nobody uses the client's address space, what it maps goes with that.</summary>
    private void UnmapAll(Task? task, bool alive)
    {
        RemoteMapping[] mappings;
        lock (_lock)
        {
            mappings = [.. _mappings.Values];
            _mappings.Clear();
        }
        foreach (RemoteMapping mapping in mappings)
        {
            Leave(task, mapping);
            if (alive)
                UnmapPage(task, mapping);
            else
                Finish(mapping);
            Maps.Count(RemoteMapCounter.PdbCount, -1);
        }
    }

    /// <summary>Hears that the client ends, whoever else has the file open then.</summary>
    private sealed class ClientNotifier(RemoteMapFile file) : MmuNotifier
    {
        public override MmuNotifierOps Ops => MmuNotifierOps.Release;

        public override void Release(Task? task, Mm mm) => file.UnmapAll(task, alive: false);
    }
}

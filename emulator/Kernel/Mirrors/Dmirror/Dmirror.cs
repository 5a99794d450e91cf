using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// One open device file: the device's page table for the address space of the program that opened it, and an interval notifier that keeps
/// it true (<c>struct dmirror</c>). Knows of memory management what any driver may know: notifiers, hmm_range_fault, migrate_vma and
/// make_device_exclusive_range.
/// </summary>
/// <param name="device">The device.</param>
/// <param name="mm">The address space; it may end while the file stays open, in another process for example.</param>
internal sealed partial class Dmirror(DmirrorDevice device, Mm mm) : MmuIntervalNotifier
{
    /// <summary>Pages that one question to the kernel is about.</summary>
    private const int Batch = 64;

    /// <summary>How long colliding changes are put up with (HMM_RANGE_DEFAULT_TIMEOUT).</summary>
    private const long Timeout = 1000 * Clock.Millisecond;

    private static readonly LockClass MutexClass = new("dmirror_mutex");

    private readonly Mutex _mutex = new(MutexClass);

    /// <summary>Under the mutex.</summary>
    private readonly MirrorTable _table = new(device.Machine.KernelMemory);

    private PhysicalMemory Memory => device.Machine.Memory;

    /// <summary>dmirror_interval_invalidate.</summary>
    public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
    {
        if (range.Blockable)
            _mutex.Lock(task);
        else if (!_mutex.TryLock(task))
            return false;
        SetSequence(sequence);
        // Pages that this device itself moves: it sees to them one by one, and keeps what stays.
        if (range.Event != MmuNotifyEvent.Migrate || range.Owner != device)
            _table.Erase(range.Start >> Pfn.Shift, (range.End - 1) >> Pfn.Shift);
        _mutex.Unlock();
        return true;
    }

    /// <summary>The last user of the file is gone.</summary>
    public void Close()
    {
        device.Remove(this);
        Task? task = device.Machine.CurrentTask;
        Remove(task);
        using Mutex.Scope scope = _mutex.Enter(task);
        _table.Clear();
    }

    /// <summary>HMM_DMIRROR_READ: the device reads the program's memory (dmirror_read).</summary>
    public long Read(Task task, ref DmirrorCommand command)
    {
        using Bounce? bounce = Bounce.Create(task, command.Address, command.Pages << Pfn.Shift);
        if (bounce is null)
            return -Errno.ENOMEM;
        long error = Access(task, ref command, bounce, write: false);
        return error != 0 ? error : bounce.CopyTo(task, command.Pointer) ? 0 : -Errno.EFAULT;
    }

    /// <summary>HMM_DMIRROR_WRITE: the device writes to it (dmirror_write).</summary>
    public long Write(Task task, ref DmirrorCommand command)
    {
        using Bounce? bounce = Bounce.Create(task, command.Address, command.Pages << Pfn.Shift);
        if (bounce is null)
            return -Errno.ENOMEM;
        return bounce.CopyFrom(task, command.Pointer) ? Access(task, ref command, bounce, write: true) : -Errno.EFAULT;
    }

    /// <summary>Goes through the device's table; where that has nothing, asks the kernel for all of the rest and goes on.</summary>
    private long Access(Task task, ref DmirrorCommand command, Bounce bounce, bool write)
    {
        ulong end = command.Address + (command.Pages << Pfn.Shift);
        while (true)
        {
            ulong start = command.Address + (bounce.DonePages << Pfn.Shift);
            bool done = TryAccess(task, start, end, bounce, write);
            command.DonePages = bounce.DonePages;
            if (done)
                return 0;
            long error = Fault(task, command.Address + (bounce.DonePages << Pfn.Shift), end, write);
            if (error != 0)
                return error;
            command.Faults++;
        }
    }

    /// <summary>dmirror_do_read and dmirror_do_write: false where the table has no entry, or none that allows it (-ENOENT).</summary>
    private bool TryAccess(Task task, ulong start, ulong end, Bounce bounce, bool write)
    {
        using Mutex.Scope scope = _mutex.Enter(task);
        for (ulong address = start; address < end; address += Pfn.Size, bounce.DonePages++)
        {
            if (!_table.TryFind(address >> Pfn.Shift, out Pfn frame, out MirrorTag tag) || (write && tag != MirrorTag.Write))
                return false;
            if (write)
            {
                Memory.BeforeWrite(frame);
                bounce.Page(address).CopyTo(Memory.BytesOf(frame));
            }
            else
            {
                Memory.BytesOf(frame).CopyTo(bounce.Page(address));
            }
        }
        return true;
    }

    /// <summary>Brings pages into the device's table (dmirror_fault).</summary>
    private long Fault(Task task, ulong start, ulong end, bool write)
    {
        // The address space is another one's, maybe: it must not end meanwhile.
        if (!mm.TryGet())
            return -Errno.EFAULT;
        ulong[] pfns = new ulong[Batch];
        long error = 0;
        for (ulong next; start < end && error == 0; start = next)
        {
            next = Math.Min(end, start + ((ulong)Batch << Pfn.Shift));
            var range = new HmmRange(mm, start, next, pfns)
            {
                Notifier = this,
                DefaultFlags = HmmPfn.ReqFault | (write ? HmmPfn.ReqWrite : HmmPfn.None),
                DevicePrivateOwner = device,
            };
            error = Lookup(task, range, r => Map(r, write));
        }
        mm.Put(task);
        return error;
    }

    /// <summary>
    /// The protocol of Documentation/mm/hmm.rst: asks, and has the answer used under the mutex if it still holds then (dmirror_range_fault,
    /// dmirror_range_snapshot). -EBUSY: it never did; -ENOMEM: there is no room for the table to grow.
    /// </summary>
    private long Lookup(Task task, HmmRange range, Func<HmmRange, long> use)
    {
        Clock clock = task.Machine.Clock;
        MmuIntervalNotifier notifier = range.Notifier!;
        if (!task.Machine.KernelMemory.HasRoom)
            return -Errno.ENOMEM;
        for (long deadline = clock.MonotonicNs + Timeout; clock.MonotonicNs <= deadline;)
        {
            range.NotifierSequence = notifier.ReadBegin(task);
            int error;
            using (mm.EnterRead(task))
                error = Hmm.RangeFault(task, range);
            if (error == -Errno.EBUSY)
                continue;
            if (error != 0)
                return error;
            using Mutex.Scope scope = _mutex.Enter(task);
            if (!notifier.ReadRetry(range.NotifierSequence))
                return use(range);
        }
        return -Errno.EBUSY;
    }

    /// <summary>dmirror_do_fault, under the mutex.</summary>
    private long Map(HmmRange range, bool write)
    {
        ReadOnlySpan<ulong> entries = range.Pfns.Span;
        for (ulong address = range.Start; address < range.End; address += Pfn.Size)
        {
            ulong entry = entries[(int)((address - range.Start) >> Pfn.Shift)];
            // A page in the device's memory that lost write permission is not brought back for it, but reported as it is.
            if (write && !HmmRange.IsWritable(entry))
                return -Errno.EFAULT;
            Store(address, entry);
        }
        return 0;
    }

    /// <summary>Enters an answer of hmm_range_fault; of a page in the device's memory, where its data really are.</summary>
    private void Store(ulong address, ulong entry)
    {
        Pfn frame = HmmRange.FrameOf(entry);
        _table.Store(address >> Pfn.Shift, device.Owns(frame) ? device.BackingOf(frame) : frame, HmmRange.IsWritable(entry) ? MirrorTag.Write : MirrorTag.Read);
    }
}

using System.Runtime.InteropServices;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Tasks.Ipc;

/// <summary>struct sembuf.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SemaphoreOperation
{
    public const int SEM_UNDO = 0x1000;

    public ushort Number;
    public short Change;
    public short Flags;
}

/// <summary>A System V semaphore set (ipc/sem.c). Operations that cannot be done yet wait in the order of their arrival, and are done by whoever makes them possible.</summary>
internal sealed class SemaphoreSet(Task creator, int key, int mode, int count) : IpcObject(creator, key, mode)
{
    /// <summary>SEMVMX and SEMAEM.</summary>
    public const int MaxValue = 32767;

    private struct Semaphore
    {
        public int Value;
        public int LastPid;
    }

    private sealed class Pending(Task task, SemaphoreOperation[] operations)
    {
        public Task Task { get; } = task;

        public SemaphoreOperation[] Operations { get; } = operations;

        /// <summary>The operation that cannot be done.</summary>
        public SemaphoreOperation Blocking;

        /// <summary>1 while it waits; then 0 or a negative errno.</summary>
        public volatile int Result = Waiting;
    }

    private const int Waiting = 1;

    // In bounds: SEMMSL at most, and a million in all; who operates on them has compared the numbers with Count.
    private readonly Semaphore[] _semaphores = new Semaphore[count];
    private readonly LinkedList<Pending> _pending = new();
    private readonly Memory.KernelMemory _memory = creator.Machine.KernelMemory;

    /// <summary>What SEM_UNDO adds when a process ends.</summary>
    private readonly Dictionary<Process, int[]> _adjustments = [];

    public int Count => _semaphores.Length;

    /// <summary>When an operation was last done.</summary>
    public long OperationTime { get; private set; }

    /// <summary>semop: 0 or a negative errno.</summary>
    public long Operate(Task task, SemaphoreOperation[] operations, long deadlineNs)
    {
        var pending = new Pending(task, operations);
        LinkedListNode<Pending> node;
        lock (Lock)
        {
            if (IsRemoved)
                return -Errno.EIDRM;
            int result = Try(pending);
            if (result != Waiting)
            {
                if (result == 0)
                    ServePending();
                return result;
            }
            node = _pending.AddLast(pending);
        }
        return Sleep(task, node, deadlineNs);
    }

    private int Sleep(Task task, LinkedListNode<Pending> node, long deadlineNs)
    {
        int reason;
        while (true)
        {
            task.PrepareToSleep();
            if (node.Value.Result != Waiting)
                return node.Value.Result;
            if (task.SignalPending)
            {
                reason = -Errno.EINTR;
                break;
            }
            if (deadlineNs != Clock.Never && task.Machine.Clock.MonotonicNs >= deadlineNs)
            {
                reason = -Errno.EAGAIN;
                break;
            }
            task.Sleep(deadlineNs);
        }
        lock (Lock)
        {
            if (node.Value.Result != Waiting)
                return node.Value.Result;
            _pending.Remove(node);
            return reason;
        }
    }

    /// <summary>perform_atomic_semop: all operations or none.</summary>
    private int Try(Pending pending)
    {
        SemaphoreOperation[] operations = pending.Operations;
        int done = 0, result = 0;
        for (; done < operations.Length && result == 0; done++)
        {
            SemaphoreOperation o = operations[done];
            ref Semaphore semaphore = ref _semaphores[o.Number];
            int value = semaphore.Value + o.Change;
            if ((o.Change == 0 && semaphore.Value != 0) || value < 0)
            {
                pending.Blocking = o;
                result = (o.Flags & IpcTable<SemaphoreSet>.IPC_NOWAIT) != 0 ? -Errno.EAGAIN : Waiting;
            }
            else if (value > MaxValue)
            {
                result = -Errno.ERANGE;
            }
            else if (Adjust(pending.Task.Process, o, -o.Change) is var error and not 0)
            {
                result = error;
            }
            else
            {
                semaphore.Value = value;
                continue;
            }
            break;
        }
        if (result != 0)
        {
            while (--done >= 0)
            {
                _semaphores[operations[done].Number].Value -= operations[done].Change;
                Adjust(pending.Task.Process, operations[done], operations[done].Change);
            }
            return result;
        }
        foreach (SemaphoreOperation o in operations)
            _semaphores[o.Number].LastPid = pending.Task.Process.Pid;
        OperationTime = Now(pending.Task);
        return 0;
    }

    private long UndoCost => Count * (long)sizeof(int);

    /// <summary>0, -ERANGE, or -ENOMEM: each process has a number for each semaphore, which may be many together.</summary>
    private int Adjust(Process process, in SemaphoreOperation o, int change)
    {
        if ((o.Flags & SemaphoreOperation.SEM_UNDO) == 0 || change == 0)
            return 0;
        if (!_adjustments.TryGetValue(process, out int[]? adjustments))
        {
            if (!_memory.TryCharge(UndoCost))
                return -Errno.ENOMEM;
            _adjustments.Add(process, adjustments = new int[Count]);
        }
        int sum = adjustments[o.Number] + change;
        if (sum is < -MaxValue - 1 or > MaxValue)
            return -Errno.ERANGE;
        adjustments[o.Number] = sum;
        return 0;
    }

    /// <summary>update_queue: after a change, from the beginning again after each operation that changed something in turn.</summary>
    private void ServePending()
    {
        for (LinkedListNode<Pending>? node = _pending.First; node is not null;)
        {
            LinkedListNode<Pending>? next = node.Next;
            int result = Try(node.Value);
            if (result != Waiting)
            {
                _pending.Remove(node);
                Finish(node.Value, result);
                if (result == 0)
                    next = _pending.First;
            }
            node = next;
        }
    }

    private static void Finish(Pending pending, int result)
    {
        pending.Result = result;
        pending.Task.WakeUp();
    }

    protected override void OnRemoved()
    {
        foreach (Pending pending in _pending)
            Finish(pending, -Errno.EIDRM);
        _pending.Clear();
        _memory.Uncharge(_adjustments.Count * UndoCost);
        _adjustments.Clear();
    }

    /// <summary>exit_sem: undoes what the process asked to have undone. Results are cut to what a semaphore can be.</summary>
    internal void Undo(Process process)
    {
        lock (Lock)
        {
            if (!_adjustments.Remove(process, out int[]? adjustments))
                return;
            _memory.Uncharge(UndoCost);
            for (int i = 0; i < Count; i++)
            {
                if (adjustments[i] == 0)
                    continue;
                _semaphores[i].Value = Math.Clamp(_semaphores[i].Value + adjustments[i], 0, MaxValue);
                _semaphores[i].LastPid = process.Pid;
            }
            ServePending();
        }
    }

    public int ValueOf(int number)
    {
        lock (Lock)
            return _semaphores[number].Value;
    }

    public int LastPidOf(int number)
    {
        lock (Lock)
            return _semaphores[number].LastPid;
    }

    /// <summary>Tasks that wait for a semaphore to become zero, or to grow.</summary>
    public int WaitersFor(int number, bool zero)
    {
        lock (Lock)
            return _pending.Count(p => p.Blocking.Number == number && p.Blocking.Change == 0 == zero);
    }

    public ushort[] Values()
    {
        lock (Lock)
            return Array.ConvertAll(_semaphores, static s => (ushort)s.Value);
    }

    /// <summary>SETVAL and SETALL: also forgets what was to be undone.</summary>
    public void SetValues(Task task, int first, ReadOnlySpan<ushort> values)
    {
        lock (Lock)
        {
            for (int i = 0; i < values.Length; i++)
            {
                _semaphores[first + i] = new Semaphore { Value = values[i], LastPid = task.Process.Pid };
                foreach (int[] adjustments in _adjustments.Values)
                    adjustments[first + i] = 0;
            }
            ChangeTime = Now(task);
            ServePending();
        }
    }
}

using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>The part of a device that works by itself: a task that does jobs in the order in which they were submitted, and shows frames in between.</summary>
internal sealed class DmaEngine
{
    private const long FrameNs = 1 * Clock.Millisecond;

    /// <summary>Results that nobody fetched are forgotten, the oldest first.</summary>
    private const int MostResults = 1024;

    private readonly Queue<(ulong Number, DmaJob Job)> _queue = new();
    private readonly SortedDictionary<ulong, DmaJob> _jobs = [];
    private readonly WaitQueue _work = new(), _progress = new();
    private readonly KernelThread _thread;
    private ulong _submitted, _begun;
    private (ImporterUse Use, ulong Offset, ulong Length)? _scanout;
    private ImporterFrame _frame;
    private bool _stops;

    public DmaEngine(Machine machine) => _thread = machine.Spawn(Loop, name: "dmabuf_engine");

    /// <summary>Jobs that may wait: a program may submit faster than the engine works.</summary>
    private const int MostQueued = 1024;

    /// <summary>Another job would find no place. Asked before a job is committed; submitters at the same time may go beyond it by one each.</summary>
    public bool IsFull
    {
        get
        {
            lock (_jobs)
                return _queue.Count >= MostQueued;
        }
    }

    /// <summary>Queues a job that is committed.</summary>
    /// <returns>Its number.</returns>
    public ulong Submit(DmaJob job)
    {
        ulong number;
        lock (_jobs)
        {
            number = ++_submitted;
            _queue.Enqueue((number, job));
            _jobs.Add(number, job);
            if (_jobs.Count > MostResults && _jobs.First() is { Value.Fence.IsSignalled: true } oldest)
                _jobs.Remove(oldest.Key);
        }
        _work.WakeAll();
        return number;
    }

    /// <summary>The job of a number; null: there is none, or its result was fetched.</summary>
    public DmaJob? Find(ulong number)
    {
        lock (_jobs)
            return _jobs.GetValueOrDefault(number);
    }

    public void Forget(ulong number)
    {
        lock (_jobs)
            _jobs.Remove(number);
    }

    /// <summary>Shows a part of a buffer, or with null nothing; returns when what was shown before is not used any more.</summary>
    public void Show(Task task, (ImporterUse Use, ulong Offset, ulong Length)? what)
    {
        ulong begun;
        lock (_jobs)
        {
            _scanout = what;
            begun = _begun;
        }
        _work.WakeAll();
        _progress.Wait(task, this, e => e.Frame.Number >= begun, interruptible: false);
    }

    /// <summary>Whether a buffer is being shown.</summary>
    public bool Shows(ImporterUse use)
    {
        lock (_jobs)
            return _scanout?.Use == use;
    }

    public bool IsShowing
    {
        get
        {
            lock (_jobs)
                return _scanout is not null;
        }
    }

    /// <summary>Waits for the first frame that has yet to begin.</summary>
    public WaitResult NextFrame(Task task, out ImporterFrame frame)
    {
        ulong begun;
        lock (_jobs)
            begun = _begun;
        WaitResult result = _progress.Wait(task, this, e => e.Frame.Number > begun || !e.IsShowing);
        frame = Frame;
        return result;
    }

    private ImporterFrame Frame
    {
        get
        {
            lock (_jobs)
                return _frame;
        }
    }

    /// <summary>Ends the task, after the jobs that are queued.</summary>
    public void Stop(Task? task)
    {
        lock (_jobs)
        {
            _scanout = null;
            _stops = true;
        }
        _work.WakeAll();
        if (task is not null)
            _thread.Join(task);
    }

    private void Loop(Task task)
    {
        while (true)
        {
            _work.Wait(task, this, static e => e.HasWork, interruptible: false);
            (ulong Number, DmaJob Job) next;
            (ImporterUse Use, ulong Offset, ulong Length)? shown = null;
            lock (_jobs)
            {
                if (!_queue.TryDequeue(out next))
                {
                    if (_stops)
                        return;
                    shown = _scanout;
                    if (shown is not null)
                        _begun++;
                }
            }
            if (next.Job is { } job)
                job.Use.Execute(task, job);
            else if (shown is { } what)
                ShowFrame(task, what.Use, what.Offset, what.Length);
            _progress.WakeAll();
        }
    }

    private bool HasWork
    {
        get
        {
            lock (_jobs)
                return _queue.Count > 0 || _stops || _scanout is not null;
        }
    }

    private void ShowFrame(Task task, ImporterUse use, ulong offset, ulong length)
    {
        var job = new DmaJob(use, ImporterOp.Sum, offset, length);
        int error = use.Commit(task, job);
        if (error == 0)
            use.Execute(task, job);
        lock (_jobs)
            _frame = new ImporterFrame { Number = _begun, Sum = job.Value, Error = error };
        _progress.WakeAll();
        // The display's pace, unless a job comes or the picture changes.
        long deadline = task.Machine.Clock.MonotonicNs + FrameNs;
        _work.Wait(task, this, e => e.HasMoreThan(use), interruptible: false, deadline);
    }

    private bool HasMoreThan(ImporterUse use)
    {
        lock (_jobs)
            return _queue.Count > 0 || _stops || _scanout?.Use != use;
    }
}

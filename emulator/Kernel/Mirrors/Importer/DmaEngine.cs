using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>The part of a device that works by itself: a task that does jobs in the order in which they were submitted, and one that shows frames.</summary>
/// <remarks>
/// They are two because of the contract of <see cref="DmaFence"/>: jobs are committed when they are submitted, so the task that does them takes no lock, brings no pages in, and waits
/// for nothing that was committed later. A frame is committed when it begins, which does all of that.
/// </remarks>
internal sealed class DmaEngine
{
    private const long FrameNs = 1 * Clock.Millisecond;

    /// <summary>Results that nobody fetched are forgotten, the oldest first.</summary>
    private const int MostResults = 1024;

    private readonly Queue<(ulong Number, DmaJob Job)> _queue = new();
    private readonly SortedDictionary<ulong, DmaJob> _jobs = [];
    private readonly WaitQueue _work = new(), _picture = new(), _progress = new();
    private readonly Machine _machine;
    private KernelThread? _thread, _display;
    private ulong _submitted, _begun;
    private (ImporterUse Use, ulong Offset, ulong Length)? _scanout;
    private ImporterFrame _frame;
    private bool _stops;

    public DmaEngine(Machine machine) => _machine = machine;

    /// <summary>Starts the task that does jobs. -EAGAIN: the machine has no room for another one.</summary>
    public int Start() => (_thread = _machine.TrySpawn(Work, "dmabuf_engine")) is null ? -Errno.EAGAIN : 0;

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

    /// <summary>Shows a part of a buffer, or with null nothing; returns when what was shown before is not used any more. One caller at a time.</summary>
    /// <returns>0; -EAGAIN: the machine has no room for the task that shows it.</returns>
    public int Show(Task task, (ImporterUse Use, ulong Offset, ulong Length)? what)
    {
        if (what is not null && (_display ??= _machine.TrySpawn(Display, "dmabuf_display")) is null)
            return -Errno.EAGAIN;
        ulong begun;
        lock (_jobs)
        {
            _scanout = what;
            begun = _begun;
        }
        _picture.WakeAll();
        _progress.WakeAll();
        _progress.Wait(task, this, e => e.Frame.Number >= begun, interruptible: false);
        return 0;
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

    /// <summary>Ends both tasks, after the jobs that are queued.</summary>
    public void Stop(Task? task)
    {
        lock (_jobs)
        {
            _scanout = null;
            _stops = true;
        }
        _work.WakeAll();
        _picture.WakeAll();
        if (task is null)
            return;
        _thread?.Join(task);
        _display?.Join(task);
    }

    private void Work(Task task)
    {
        while (true)
        {
            _work.Wait(task, this, static e => e.HasWork, interruptible: false);
            DmaJob? job;
            lock (_jobs)
                job = _queue.TryDequeue(out (ulong Number, DmaJob Job) next) ? next.Job : null;
            if (job is null)
                return;
            job.Use.Execute(task, job);
        }
    }

    private bool HasWork
    {
        get
        {
            lock (_jobs)
                return _queue.Count > 0 || _stops;
        }
    }

    private void Display(Task task)
    {
        while (true)
        {
            _picture.Wait(task, this, static e => e.HasPicture, interruptible: false);
            (ImporterUse Use, ulong Offset, ulong Length)? shown;
            lock (_jobs)
            {
                if (_stops)
                    return;
                shown = _scanout;
                if (shown is not null)
                    _begun++;
            }
            if (shown is { } what)
                ShowFrame(task, what.Use, what.Offset, what.Length);
        }
    }

    private bool HasPicture
    {
        get
        {
            lock (_jobs)
                return _stops || _scanout is not null;
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
        // The display's pace, unless the picture changes.
        long deadline = task.Machine.Clock.MonotonicNs + FrameNs;
        _picture.Wait(task, this, e => !e.Shows(use), interruptible: false, deadline);
    }
}

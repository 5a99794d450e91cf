namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>The machine's host threads: small stacks, kept for the next task when one exits.</summary>
internal sealed class HostThreads
{
    private const int StackSize = 256 << 10;
    private const int KeepIdle = 32;

    private readonly object _monitor = new();
    private readonly Stack<Worker> _idle = new();
    private int _alive;
    private bool _stopping;

    /// <summary>Threads that exist, busy or idle.</summary>
    public int Alive
    {
        get
        {
            lock (_monitor)
                return _alive;
        }
    }

    public void Run(Action body)
    {
        Worker? worker;
        lock (_monitor)
            _idle.TryPop(out worker);
        worker ??= Create();
        worker.Body = body;
        worker.Gate.Open();
    }

    /// <summary>Makes sure that <see cref="Run"/> finds a thread. False: the host gives none.</summary>
    public bool TryPrepare()
    {
        lock (_monitor)
        {
            if (_idle.Count != 0)
                return true;
        }
        try
        {
            Worker worker = Create();
            lock (_monitor)
            {
                if (_stopping)
                    worker.Gate.Open(); // Nobody would end it later: it ends at once.
                else
                    _idle.Push(worker);
            }
            return true;
        }
        catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
        {
            return false;
        }
    }

    private Worker Create()
    {
        var worker = new Worker();
        new Thread(() => Loop(worker), StackSize) { IsBackground = true, Name = "task" }.Start();
        lock (_monitor)
            _alive++;
        return worker;
    }

    /// <summary>Ends the idle threads and waits for the busy ones.</summary>
    public void Stop()
    {
        lock (_monitor)
        {
            _stopping = true;
            while (_idle.TryPop(out Worker? worker))
                worker.Gate.Open();
            while (_alive != 0)
                Monitor.Wait(_monitor);
        }
    }

    private void Loop(Worker worker)
    {
        while (true)
        {
            worker.Gate.Wait();
            if (worker.Body is not { } body)
                break;
            worker.Body = null;
            body();
            lock (_monitor)
            {
                if (_stopping || _idle.Count >= KeepIdle)
                    break;
                _idle.Push(worker);
            }
        }
        lock (_monitor)
        {
            _alive--;
            Monitor.PulseAll(_monitor);
        }
    }

    private sealed class Worker
    {
        public HostThreadGate Gate { get; } = new();
        public Action? Body;
    }
}

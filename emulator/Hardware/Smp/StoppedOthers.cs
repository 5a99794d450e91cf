namespace Emulator.Hardware.Smp;

/// <summary>
/// Something done while every other vCPU stands still: a locked access that no instruction of the host covers. Each vCPU arrives through an
/// interrupt and waits; the last to arrive acts for the sender. Several senders take turns.
/// </summary>
internal abstract class StoppedOthers : IpiRequest
{
    private int _sender, _missing;
    private volatile bool _done;

    /// <summary>Runs once, on any thread; no two senders' acts at the same time.</summary>
    protected abstract void Act();

    /// <param name="self">The vCPU that the calling thread holds.</param>
    public void Run(Vcpu self)
    {
        Platform platform = self.Platform;
        if (platform.Vcpus.Count == 1)
        {
            Act();
            return;
        }
        _sender = Environment.CurrentManagedThreadId;
        _missing = platform.Vcpus.Count - 1;
        VcpuMask others = platform.AllVcpus;
        others.Remove(self.Id);
        // One at a time: two vCPUs that got two such requests in different order would each wait in one for the other.
        var spin = default(SpinWait);
        while (Interlocked.CompareExchange(ref platform.StoppingOthers, 1, 0) != 0)
        {
            self.ServeRequests();
            spin.SpinOnce(sleep1Threshold: -1);
        }
        platform.InterProcessor.Call(self, others, this);
        Volatile.Write(ref platform.StoppingOthers, 0);
    }

    public override void Serve(Vcpu target)
    {
        if (Interlocked.Decrement(ref _missing) == 0)
        {
            Act();
            _done = true;
        }
        // A vCPU that nobody runs is served by the sender's own thread and stands still anyway.
        if (_done || Environment.CurrentManagedThreadId == _sender)
            return;
        // Another sender's thread may serve the idle target; its own vCPU must arrive too, or this would wait for itself.
        var own = target.Platform.InterProcessor.HeldByThisThread();
        var spin = default(SpinWait);
        while (!_done)
        {
            if (own != target)
                own?.ServeRequests();
            spin.SpinOnce(sleep1Threshold: -1);
        }
    }
}

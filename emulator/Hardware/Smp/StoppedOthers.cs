namespace Emulator.Hardware.Smp;

/// <summary>
/// Something done while every other vCPU stands still: a locked access that no instruction of the host covers. Each vCPU arrives through an
/// interrupt and waits; the last to arrive acts for the sender. Several senders at once are fine, because arriving at one's call needs no other to end.
/// </summary>
internal abstract class StoppedOthers : IpiRequest
{
    private int _sender, _missing;
    private volatile bool _done;

    /// <summary>Runs once, on any thread.</summary>
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
        platform.InterProcessor.Call(self, others, this);
    }

    public override void Serve(Vcpu target)
    {
        if (Interlocked.Decrement(ref _missing) == 0)
        {
            Act();
            _done = true;
        }
        // A vCPU that nobody runs is served by the sender's own thread and stands still anyway.
        var spin = default(SpinWait);
        while (!_done && Environment.CurrentManagedThreadId != _sender)
            spin.SpinOnce(sleep1Threshold: -1);
    }
}

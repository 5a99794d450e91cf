namespace Emulator.Hardware.Smp;

/// <summary>
/// Something done while every other vCPU stands still: a locked access that no instruction of the host covers. Each vCPU arrives through an
/// interrupt and waits until the sender, when all have arrived, has acted. Several senders take turns.
/// </summary>
/// <remarks>
/// The sender acts on its own thread, between interrupts that it serves itself. A flush that it has not served is one that nobody was told is done,
/// so what it translated before the first unserved one may be used, and what it translated before a served one may not.
/// </remarks>
internal abstract class StoppedOthers : IpiRequest
{
    private int _sender, _missing;
    private volatile bool _done;
    private Vcpu? _self;
    private ulong _served;
    private bool _acted;

    /// <summary>Runs at most once, on the sender's thread; no two senders' acts at the same time.</summary>
    protected abstract void Act();

    /// <summary>Interrupts of other kinds that a vCPU has served. A translation is good while it stays the same. In bounds: a field.</summary>
    public static unsafe ulong Served(Vcpu vcpu) => vcpu.State->Tlb.Served;

    /// <summary>False when nothing was done because the vCPU has served an interrupt since <paramref name="served"/> was read.</summary>
    /// <param name="self">The vCPU that the calling thread holds.</param>
    /// <param name="served"><see cref="Served"/> when the addresses that <see cref="Act"/> uses were translated.</param>
    public bool Run(Vcpu self, ulong served)
    {
        (_self, _served) = (self, served);
        Platform platform = self.Platform;
        if (platform.Vcpus.Count == 1)
        {
            ActOrNot();
            return _acted;
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
        // None of the others had a runner.
        if (!_done)
            ActOrNot();
        Volatile.Write(ref platform.StoppingOthers, 0);
        return _acted;
    }

    internal override void WhileWaiting()
    {
        if (!_done && Volatile.Read(ref _missing) == 0)
            ActOrNot();
    }

    private void ActOrNot()
    {
        _acted = Served(_self!) == _served;
        if (_acted)
            Act();
        _done = true;
    }

    public override void Serve(Vcpu target)
    {
        if (Interlocked.Decrement(ref _missing) == 0)
            _self!.Doorbell.Ring();
        // A vCPU that nobody runs is served by the sender's own thread, and does not start meanwhile (Vcpu.Run).
        if (Environment.CurrentManagedThreadId == _sender)
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

namespace Emulator.Hardware.Smp;

/// <summary>
/// Where a host thread parks until somebody rings. A ring while nobody is parked is remembered, so the pattern "look, wait, look again"
/// loses none; a wait may also end without a reason, so look again.
/// </summary>
internal sealed class Doorbell
{
    private const int Idle = 0, Rung = 1, Parked = 2;
    private readonly object _gate = new();
    private int _state;

    /// <returns>Whether somebody was parked.</returns>
    public bool Ring()
    {
        if (Interlocked.Exchange(ref _state, Rung) != Parked)
            return false;
        lock (_gate)
            Monitor.Pulse(_gate);
        return true;
    }

    public void Wait()
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Rung) == Rung)
            return;
        lock (_gate)
        {
            if (Interlocked.CompareExchange(ref _state, Parked, Idle) == Idle)
            {
                while (Volatile.Read(ref _state) == Parked)
                    Monitor.Wait(_gate);
            }
            // A full fence: what the ringer did before Ring is seen by the look that follows.
            Interlocked.Exchange(ref _state, Idle);
        }
    }
}

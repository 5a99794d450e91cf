using System.Diagnostics;

namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>A task's processor time in guest code and in the kernel, ns. Written by the task's own thread; time asleep is nobody's.</summary>
/// <param name="measured">By the host's clock; otherwise the scheduler adds what it counts.</param>
internal sealed class TaskTimes(bool measured)
{
    private long _since = Stopwatch.GetTimestamp();

    public long UserNs { get; private set; }

    public long SystemNs { get; private set; }

    public void EnterGuest() => Update();

    public void LeaveGuest()
    {
        if (measured)
            UserNs += Elapsed();
    }

    /// <summary>Brings <see cref="SystemNs"/> up to now.</summary>
    public void Update()
    {
        if (measured)
            SystemNs += Elapsed();
    }

    /// <summary>The task has slept.</summary>
    public void Restart() => _since = Stopwatch.GetTimestamp();

    public void Add(long userNs, long systemNs)
    {
        UserNs += userNs;
        SystemNs += systemNs;
    }

    private long Elapsed()
    {
        long now = Stopwatch.GetTimestamp();
        long ns = (long)Stopwatch.GetElapsedTime(_since, now).TotalNanoseconds;
        _since = now;
        return ns;
    }
}

using Emulator.Hardware.Memory;
using Microsoft.Extensions.ObjectPool;

namespace Emulator.Hardware.Smp;

/// <summary>What an inter-processor interrupt does on its target.</summary>
public abstract class IpiRequest
{
    /// <summary>
    /// Runs once for each target, on the thread that holds the target or, when nobody runs it, on the sender's under the target's permit.
    /// Short; sends no interrupt, takes no lock, does not throw. Several targets run it at the same time.
    /// </summary>
    public abstract void Serve(Vcpu target);

    /// <summary>Hardware does this on its targets, without interrupting what they execute.</summary>
    public virtual bool IsBroadcast => false;

    /// <summary>Called again and again on the sender's thread until all targets have served the request.</summary>
    internal virtual void WhileWaiting()
    {
    }
}

/// <summary>A call in flight: counted down by the targets, waited for by the sender.</summary>
internal sealed class IpiCall
{
    private readonly Doorbell _own = new();
    private IpiRequest? _request;
    private Doorbell? _sender;
    private int _remaining;

    public Doorbell Sender => _sender!;
    public bool IsInterrupt => !_request!.IsBroadcast;
    public bool IsDone => Volatile.Read(ref _remaining) == 0;

    public void Begin(IpiRequest request, Vcpu? self, int targets)
    {
        _request = request;
        _sender = self?.Doorbell ?? _own;
        _remaining = targets;
    }

    public unsafe void ServeOn(Vcpu target)
    {
        var sender = _sender!;
        if (_request is not StoppedOthers)
            target.State->Tlb.Served++;
        _request!.Serve(target);
        // After the last decrement the sender may reuse this object; the doorbell outlives it, and an idle ring does no harm.
        if (Interlocked.Decrement(ref _remaining) == 0 && sender.Ring())
        {
            // The sender waits for a processor now. When there are more vCPUs than host cores it might have to wait for a whole time slice.
            Thread.Yield();
        }
    }
}

/// <summary>Interrupts between vCPUs: sent, served and acknowledged before <see cref="Call"/> returns (as smp_call_function_many with wait).</summary>
public sealed class InterProcessor
{
    /// <summary>
    /// Spinning before a waiting sender parks: a few microseconds. It does not yield: behind other vCPUs' threads that would cost a time slice,
    /// while a parked thread is woken at once.
    /// </summary>
    private const int SpinRounds = 40, SpinsARound = 10;
    private readonly Vcpu[] _vcpus;
    private readonly ObjectPool<IpiCall> _calls = new DefaultObjectPool<IpiCall>(new DefaultPooledObjectPolicy<IpiCall>());

    internal InterProcessor(Vcpu[] vcpus) => _vcpus = vcpus;

    /// <summary>
    /// Runs <paramref name="what"/> on every target and returns when all have. While it waits it serves what others send to
    /// <paramref name="self"/>, so that two senders that address each other both finish.
    /// </summary>
    /// <param name="self">The vCPU that the calling thread holds; null: found by the thread, or none (a device's thread).</param>
    /// <param name="targets">May contain <paramref name="self"/>, which is then served directly, while the others work.</param>
    public void Call(Vcpu? self, in VcpuMask targets, IpiRequest what)
    {
        self ??= HeldByThisThread();
        bool selfToo = self is not null && targets.Contains(self.Id);
        int count = targets.Count - (selfToo ? 1 : 0);
        if (count != 0)
            CallOthers(self, targets, what, count, selfToo);
        else if (selfToo)
            what.Serve(self!);
    }

    // In bounds: masks have members that exist, and arrays are checked besides; no guest names a vCPU here.
    private unsafe void CallOthers(Vcpu? self, in VcpuMask targets, IpiRequest what, int count, bool selfToo)
    {
        var call = _calls.Get();
        call.Begin(what, self, count);
        // Running targets are interrupted first and work while this thread serves the others in their place.
        for (int id = targets.Next(0); id >= 0; id = targets.Next(id + 1))
        {
            if (id != self?.Id)
                _vcpus[id].Post(call);
        }
        if (selfToo)
            what.Serve(self!);
        for (int id = targets.Next(0); id >= 0; id = targets.Next(id + 1))
        {
            if (id != self?.Id)
                _vcpus[id].ServeIfNotRunning();
        }
        for (int round = 0; !call.IsDone; round++)
        {
            self?.ServeRequests();
            what.WhileWaiting();
            if (round < SpinRounds)
                Thread.SpinWait(SpinsARound);
            else
                call.Sender.Wait();
        }
        _calls.Return(call);
        if (self is not null && !what.IsBroadcast)
        {
            self.State->Tlb.Counters[Counter.IpisSent] += (ulong)count;
            self.State->Tlb.Counters[Counter.IpisAcknowledged] += (ulong)count;
        }
    }

    /// <summary>The vCPU that runs on the calling thread, if one does.</summary>
    public Vcpu? HeldByThisThread()
    {
        int thread = Environment.CurrentManagedThreadId;
        foreach (var vcpu in _vcpus)
        {
            if (vcpu.IsHeldBy(thread))
                return vcpu;
        }
        return null;
    }
}

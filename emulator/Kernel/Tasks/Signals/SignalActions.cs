using System.Runtime.InteropServices;

namespace Emulator.Kernel.Tasks;

/// <summary>One entry of rt_sigaction, laid out as the kernel's <c>struct sigaction</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct SignalAction(ulong Handler, ulong Flags, ulong Restorer, ulong Mask)
{
    public const ulong Default = 0, Ignore = 1;

    public const ulong SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SA_UNSUPPORTED = 0x400, SA_EXPOSE_TAGBITS = 0x800, SA_RESTORER = 0x04000000,
        SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000, SA_NODEFER = 0x40000000, SA_RESETHAND = 0x80000000;

    internal const ulong KnownFlags = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_EXPOSE_TAGBITS | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND;

    internal bool Has(ulong flag) => (Flags & flag) != 0;
}

/// <summary>The signal handlers of a process (Linux's <c>sighand_struct</c>), shared by CLONE_SIGHAND. Guarded by the process's signal lock.</summary>
public sealed class SignalActions
{
    private readonly SignalAction[] _actions;

    internal SignalActions() => _actions = new SignalAction[Signal.Count];

    private SignalActions(SignalAction[] actions) => _actions = actions;

    public SignalAction this[int signal]
    {
        get => _actions[signal - 1];
        internal set => _actions[signal - 1] = value;
    }

    internal SignalActions Clone() => new((SignalAction[])_actions.Clone());

    /// <summary>execve: handlers become the default action, ignored signals stay ignored (kernel/signal.c:flush_signal_handlers).</summary>
    internal void ResetHandlers()
    {
        for (int i = 0; i < _actions.Length; i++)
            _actions[i] = new SignalAction(_actions[i].Handler == SignalAction.Ignore ? SignalAction.Ignore : SignalAction.Default, 0, 0, 0);
    }

    /// <summary>CLONE_CLEAR_SIGHAND: handlers become the default action, ignored signals stay ignored.</summary>
    internal SignalActions CloneCleared()
    {
        SignalActions clone = Clone();
        clone.ResetHandlers();
        return clone;
    }

    /// <summary>Whether sending the signal would have no effect at all, as long as it is not blocked.</summary>
    internal bool Ignores(int signal) =>
        this[signal].Handler == SignalAction.Ignore || (this[signal].Handler == SignalAction.Default && Signal.IsIgnoredByDefault(signal));
}

/// <summary>Signals that wait: one of each ordinary number, any number of real-time ones. Guarded by the process's signal lock.</summary>
/// <param name="memory">Where real-time ones are counted: who sends them asks first (<see cref="CanQueue"/>).</param>
public sealed class PendingSignals(Memory.KernelMemory memory)
{
    private readonly LinkedList<SignalInfo> _queue = new();
    private ulong _mask;

    /// <summary>One bit for each number that waits. May be read without the lock.</summary>
    public ulong Mask => Volatile.Read(ref _mask);

    internal int Count => _queue.Count;

    /// <summary>Whether another real-time signal finds a place.</summary>
    /// <param name="limit">RLIMIT_SIGPENDING.</param>
    internal bool CanQueue(ulong limit) => (ulong)_queue.Count < limit && memory.HasRoom;

    private static long CostOf(SignalInfo info) => info.Number >= Signal.SIGRTMIN ? Memory.KernelMemory.Signal : 0;

    internal void Add(SignalInfo info)
    {
        if (info.Number < Signal.SIGRTMIN && (_mask & Signal.Bit(info.Number)) != 0)
            return;
        _queue.AddLast(info);
        memory.Charge(CostOf(info));
        Volatile.Write(ref _mask, _mask | Signal.Bit(info.Number));
    }

    /// <summary>Takes the signal of the lowest number in <paramref name="allowed"/>, those raised by an instruction first.</summary>
    internal SignalInfo? Take(ulong allowed)
    {
        ulong candidates = _mask & allowed;
        if (candidates == 0)
            return null;
        if ((candidates & Signal.Synchronous) != 0)
            candidates &= Signal.Synchronous;
        int number = System.Numerics.BitOperations.TrailingZeroCount(candidates) + 1;
        LinkedListNode<SignalInfo>? found = null;
        bool more = false;
        for (LinkedListNode<SignalInfo>? n = _queue.First; n is not null; n = n.Next)
        {
            if (n.Value.Number != number)
                continue;
            if (found is not null)
            {
                more = true;
                break;
            }
            found = n;
        }
        if (!more)
            Volatile.Write(ref _mask, _mask & ~Signal.Bit(number));
        if (found is null)
            return new SignalInfo(number, SignalInfo.SI_USER);
        _queue.Remove(found);
        memory.Uncharge(CostOf(found.Value));
        return found.Value;
    }

    internal void Discard(ulong signals)
    {
        if ((_mask & signals) == 0)
            return;
        for (LinkedListNode<SignalInfo>? n = _queue.First; n is not null;)
        {
            LinkedListNode<SignalInfo>? next = n.Next;
            if ((Signal.Bit(n.Value.Number) & signals) != 0)
            {
                _queue.Remove(n);
                memory.Uncharge(CostOf(n.Value));
            }
            n = next;
        }
        Volatile.Write(ref _mask, _mask & ~signals);
    }
}

using System.Globalization;
using System.Text;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>
/// A flush that somebody asked for because entries had changed: when, what of, on whose behalf, and when it was declared done. From then on
/// no processor may use what it had cached of the range before the flush began.
/// </summary>
internal sealed class FlushRecord
{
    private readonly (string Name, ulong Start, ulong End)[] _operations;
    private readonly string _by;
    private readonly string _policy;
    private readonly Sharer[] _sharers;
    private readonly ulong _context, _start, _end;
    private readonly ulong? _deferred;
    private readonly int _shift;
    private long _completed;

    /// <param name="number">Its place among the events; taken before any processor is asked and before generations are raised.</param>
    /// <param name="task">Who asks.</param>
    /// <param name="vcpu">Where, or -1.</param>
    /// <param name="mm">The address space; of one that shares its tables, the sharers at this instant count as well.</param>
    /// <param name="policy">How sharers are reached; empty where there are none.</param>
    /// <param name="shift">log2 of the size of the smallest pages that changed.</param>
    /// <param name="deferred">The page for which the flush is put off; null: it is carried out now.</param>
    public FlushRecord(long number, Task? task, int vcpu, Mm mm, string policy, ulong start, ulong end, int shift, ulong? deferred)
    {
        Number = number;
        _operations = task?.Operations.Copy() ?? [];
        _by = $"{task?.ToString() ?? "the kernel"}{(vcpu < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" on vCPU {vcpu}"))}";
        (_context, _start, _end, _shift, _deferred, _policy) = (mm.Context.Id, start, end, shift, deferred, policy);
        _sharers = mm.Sharing?.Snapshot ?? [];
    }

    public long Number { get; }

    /// <summary>When it was declared done, or 0.</summary>
    public long Completed => Volatile.Read(ref _completed);

    public void Complete(long number) => Volatile.Write(ref _completed, number);

    /// <summary>Whether translations of an address are to go by this flush.</summary>
    /// <param name="context">The address space that they belong to.</param>
    /// <param name="address">The address.</param>
    /// <param name="shift">log2 of the page's size; of what is known through a cached table, 63: page flushes drop every cached table.</param>
    public bool Covers(ulong context, ulong address, int shift)
    {
        if (shift < _shift && _end != TlbShootdown.FlushAll)
            return false;
        if (context == _context)
            return address >= _start && address < _end;
        foreach (Sharer sharer in _sharers)
        {
            if (sharer.Mm.Context.Id == context && address - sharer.Address < sharer.Length)
                return address - sharer.Address + sharer.HostAddress is var shared && shared >= _start && shared < _end;
        }
        return false;
    }

    /// <summary>One line; who was asked follows from the caller.</summary>
    public void AppendTo(StringBuilder text)
    {
        string range = _end == TlbShootdown.FlushAll ? "all" : $"{_start:x}-{_end:x}";
        text.Append(CultureInfo.InvariantCulture, $"#{Number}");
        if (Completed != 0)
            text.Append(CultureInfo.InvariantCulture, $" to #{Completed}");
        text.Append(CultureInfo.InvariantCulture, $": {(_deferred is { } page ? $"page {page:x} in a batch, hence all" : range)} of address space {_context}");
        if (_sharers.Length > 0 || _policy.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $", {_sharers.Length} sharers, policy {_policy}");
        text.Append(", by ").Append(_by);
        if (_operations.Length > 0)
            text.Append(" in ").AppendJoin(" > ", Operations.Names(_operations));
        if (Completed == 0)
            text.Append(", not declared done yet");
    }
}

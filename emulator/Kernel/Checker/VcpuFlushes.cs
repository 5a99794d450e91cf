using System.Globalization;
using System.Text;
using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Checker;

/// <summary>What one vCPU was last asked to flush and what it dropped, for reports.</summary>
internal sealed class VcpuFlushes(EventClock clock)
{
    private const int Kept = 256;

    private enum Kind { Asked, Page, Context, Everything }

    private readonly record struct Event(long Number, Kind Kind, ulong Address, ulong Context);

    private readonly Lock _lock = new();
    private readonly Event[] _events = new Event[Kept];
    private long _count;

    /// <summary>An interrupt, or the initiator's own part: it is looked at now whether there is something to flush.</summary>
    public void Asked() => Note(Kind.Asked, 0, 0);

    /// <inheritdoc cref="TranslationWitness.OnFlush"/>
    public void Dropped(ulong? address, ulong? context) =>
        Note(context is null ? Kind.Everything : address is null ? Kind.Context : Kind.Page, address ?? 0, context ?? 0);

    private void Note(Kind kind, ulong address, ulong context)
    {
        lock (_lock)
            _events[_count++ % Kept] = new Event(clock.Next(), kind, address, context);
    }

    /// <summary>What happened from one event to another; null: nothing. "+" where older events are forgotten.</summary>
    public string? Describe(long from, long to)
    {
        var text = new StringBuilder();
        bool asked = false;
        int pages = 0;
        lock (_lock)
        {
            for (long i = Math.Max(0, _count - Kept); i < _count; i++)
            {
                Event e = _events[i % Kept];
                if (e.Number < from || e.Number > to)
                    continue;
                asked |= e.Kind == Kind.Asked;
                if (e.Kind == Kind.Page && ++pages > 3)
                    continue;
                text.Append(e.Kind switch
                {
                    Kind.Page => string.Create(CultureInfo.InvariantCulture, $", dropped page {e.Address:x} of PCID {e.Context}"),
                    Kind.Context => string.Create(CultureInfo.InvariantCulture, $", dropped all of PCID {e.Context}"),
                    Kind.Everything => ", dropped everything",
                    _ => "",
                });
            }
        }
        if (!asked && text.Length == 0)
            return null;
        if (pages > 3)
            text.Append(CultureInfo.InvariantCulture, $" and {pages - 3} more");
        return (asked ? "asked" : "not asked") + (text.Length == 0 ? ", dropped nothing" : text.ToString());
    }
}

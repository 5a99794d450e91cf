using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>A flush on its way to its targets (Linux's <c>flush_tlb_info</c>), and what the slowest of them did.</summary>
internal class FlushRequest(TlbShootdown shootdown) : IpiRequest
{
    private int _slowestPages;
    private int _ownPages;
    private bool _someFull;

    protected TlbShootdown Shootdown => shootdown;

    /// <summary>The address space; null: whichever a target has loaded.</summary>
    public Mm? Mm { get; private set; }

    /// <summary>The range to flush, page by page if it does not end at <see cref="TlbShootdown.FlushAll"/>.</summary>
    public ulong Start { get; private set; }

    public ulong End { get; private set; }

    /// <summary>The range whose translations changed; a full flush loses more.</summary>
    public ulong NamedStart { get; private set; }

    public ulong NamedEnd { get; private set; }

    /// <summary>The host whose range is named; null: it is that of <see cref="Mm"/>, or of whatever a target has loaded.</summary>
    public MmContext? About { get; set; }

    public int StrideShift { get; private set; }

    /// <summary>The generation that the request raised, or 0: it raised none.</summary>
    public ulong Generation { get; private set; }

    public int Initiator { get; private set; }

    public void Set(Mm? mm, ulong start, ulong end, int strideShift, ulong generation, int initiator)
    {
        Mm = mm;
        (Start, End) = (NamedStart, NamedEnd) = (start, end);
        StrideShift = strideShift;
        Generation = generation;
        Initiator = initiator;
        _slowestPages = _ownPages = 0;
        _someFull = false;
    }

    /// <summary>Everything goes; the range given before is what was asked for.</summary>
    public void Widen() => (Start, End) = (0, TlbShootdown.FlushAll);

    /// <summary>A target has flushed pages one by one.</summary>
    public void NotePages(int pages, bool remote)
    {
        if (!remote)
        {
            _ownPages = pages;
            return;
        }
        for (int seen = Volatile.Read(ref _slowestPages); pages > seen;)
        {
            int found = Interlocked.CompareExchange(ref _slowestPages, pages, seen);
            if (found == seen)
                return;
            seen = found;
        }
    }

    public void NoteFull() => Volatile.Write(ref _someFull, true);

    /// <summary>Served by all: counts what the initiator waited for.</summary>
    public void CountWait(CpuTlbState initiator)
    {
        initiator[ShootdownCounter.WaitCalls]++;
        // A page flush takes longer than a reload of CR3: who flushed pages was the slowest.
        if (_slowestPages != 0)
            initiator[ShootdownCounter.WaitPageFlushes] += (ulong)Math.Max(0, _slowestPages - _ownPages);
        else if (_someFull)
            initiator[ShootdownCounter.WaitFullFlushes]++;
    }

    /// <summary>The address space may go.</summary>
    public void Release() => Mm = null;

    public override void Serve(Vcpu target)
    {
        shootdown.Checker?.OnFlushServed(target);
        shootdown.Serve(target, this);
    }
}

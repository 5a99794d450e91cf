using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>The last uses of each frame: what it was allocated for and who gave it back, for reports.</summary>
/// <remarks>Kept only while somebody checks: a frame costs some hundred bytes of the host's memory, and only the first million frames have a history.</remarks>
internal sealed class FrameHistory(InterProcessor processors, EventClock clock)
{
    private const int EventsKept = 6, FramesKept = 1 << 20;

    private readonly ConcurrentDictionary<ulong, List<FrameEvent>> _events = new();
    private long _frames;

    /// <summary>Names only, formatted when somebody asks: frames come and go far more often than reports.</summary>
    private readonly record struct FrameEvent(long Number, bool Freed, PageFlags Flags, string? Comm, int Tid, string Outermost, string Innermost)
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture,
            $"#{Number} {(Freed ? "freed, was" : "allocated as")} {Flags & ~PageFlags.Used} by {(Comm is null ? "the kernel" : $"{Comm}[{Tid}]")}{Place}");

        private string Place => Outermost.Length == 0 ? "" : ReferenceEquals(Outermost, Innermost) ? $" in {Outermost}" : $" in {Outermost}, {Innermost}";
    }

    public void Allocated(Pfn frame, PageFlags flags) => Note(frame, flags, freed: false);

    public void Freed(Pfn frame, PageFlags flags) => Note(frame, flags, freed: true);

    private void Note(Pfn frame, PageFlags flags, bool freed)
    {
        if (!_events.TryGetValue(frame.Value, out List<FrameEvent>? events))
        {
            if (Interlocked.Increment(ref _frames) > FramesKept)
                return;
            events = _events.GetOrAdd(frame.Value, static _ => new List<FrameEvent>(2));
        }
        var task = processors.HeldByThisThread()?.Occupant as Task;
        lock (events)
        {
            if (events.Count == EventsKept)
                events.RemoveAt(0);
            events.Add(new FrameEvent(clock.Next(), freed, flags, task?.Comm, task?.Tid ?? 0,
                task?.Operations.Outermost ?? "", task?.Operations.Innermost ?? ""));
        }
    }

    /// <summary>The last events of the frame, or of the 2 MiB block that it came with, oldest first, a line each.</summary>
    public string Describe(Pfn frame)
    {
        if (!_events.TryGetValue(frame.Value, out List<FrameEvent>? events)
            && !_events.TryGetValue(frame.Value & ~((1UL << PageAllocator.HugeOrder) - 1), out events))
            return "  nothing is known of it since checking began";
        var text = new StringBuilder();
        lock (events)
        {
            foreach (FrameEvent line in events)
                text.Append(text.Length == 0 ? "" : "\n").Append("  ").Append(line);
        }
        return text.ToString();
    }
}

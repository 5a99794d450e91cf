using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>The last uses of each frame: what it was allocated for and who gave it back, for reports.</summary>
/// <remarks>Kept only while somebody checks: an entry costs some hundred bytes of the host's memory.</remarks>
internal sealed class FrameHistory(InterProcessor processors)
{
    private const int Kept = 6;

    private readonly ConcurrentDictionary<ulong, Queue<string>> _events = new();
    private long _clock;

    /// <summary>The task whose thread calls, if it holds a vCPU.</summary>
    public Task? Current => processors.HeldByThisThread()?.Occupant as Task;

    public void Allocated(Pfn frame, PageFlags flags) => Note(frame, "allocated as", flags);

    public void Freed(Pfn frame, PageFlags flags) => Note(frame, "freed, was", flags);

    private void Note(Pfn frame, string what, PageFlags flags)
    {
        Task? task = Current;
        string[] operations = task?.Operations.Names() ?? [];
        string text = string.Create(CultureInfo.InvariantCulture,
            $"#{Interlocked.Increment(ref _clock)} {what} {flags & ~PageFlags.Used} by {task?.ToString() ?? "the kernel"}{(operations.Length == 0 ? "" : " in ")}{string.Join(" > ", operations)}");
        Queue<string> events = _events.GetOrAdd(frame.Value, static _ => new Queue<string>(Kept));
        lock (events)
        {
            if (events.Count == Kept)
                events.Dequeue();
            events.Enqueue(text);
        }
    }

    /// <summary>The frame's last events, oldest first, a line each.</summary>
    public string Describe(Pfn frame)
    {
        if (!_events.TryGetValue(frame.Value, out Queue<string>? events))
            return "  nothing is known of it since checking began";
        var text = new StringBuilder();
        lock (events)
        {
            foreach (string line in events)
                text.Append(text.Length == 0 ? "" : "\n").Append("  ").Append(line);
        }
        return text.ToString();
    }
}

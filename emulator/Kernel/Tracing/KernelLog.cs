using System.Globalization;

namespace Emulator.Kernel.Tracing;

/// <summary>What the kernel has to say (Linux's printk): the last lines, with the machine's time before each as dmesg shows them.</summary>
/// <param name="clock">The machine's clock.</param>
/// <param name="sink">Gets each line as it comes; called under a lock and must not come back.</param>
public sealed class KernelLog(Clock clock, Action<string>? sink)
{
    private const int Kept = 4096;

    private readonly Lock _lock = new();
    private readonly Queue<string> _lines = new();

    /// <summary>A copy of the lines kept, oldest first.</summary>
    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_lock)
                return [.. _lines];
        }
    }

    internal void Write(string text)
    {
        long microseconds = clock.MonotonicNs / 1000;
        string line = string.Create(CultureInfo.InvariantCulture, $"[{microseconds / 1_000_000,5}.{microseconds % 1_000_000:D6}] {text}");
        lock (_lock)
        {
            _lines.Enqueue(line);
            if (_lines.Count > Kept)
                _lines.Dequeue();
            sink?.Invoke(line);
        }
    }
}

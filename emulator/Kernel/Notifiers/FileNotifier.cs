using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Notifiers;

/// <summary>Why pages leave a file.</summary>
public enum FileNotifyEvent
{
    /// <summary>A hole is punched (fallocate, MADV_REMOVE).</summary>
    Punch,

    /// <summary>The file becomes shorter.</summary>
    Truncate,
}

/// <summary>Pages that leave a file.</summary>
/// <param name="First">Index of the first, in pages of 4 KiB.</param>
/// <param name="Last">Index of the last.</param>
/// <param name="Event">Why.</param>
public readonly record struct FileNotifyRange(ulong First, ulong Last, FileNotifyEvent Event);

/// <summary>
/// What a mirror of a file hears of it, by (mapping, offset): pages are about to leave. Where an <see cref="MmuNotifier"/> knows one address space,
/// this one hears of a change whoever makes it and whoever maps the file, or nobody. Linux has none; Peter Xu asked for it on 31 July 2023.
/// </summary>
/// <remarks>
/// Only changes of what the file <em>is</em> are announced. Reclaim and migration keep off pages that somebody holds (<see cref="Page.PinBias"/>), so a
/// mirror pins what it uses and gives it back in <see cref="InvalidateStart"/>.
/// </remarks>
public abstract class FileNotifier
{
    /// <summary>The file, while registered.</summary>
    public PageCache? File { get; private set; }

    public ulong First { get; private set; }

    public ulong Last { get; private set; }

    /// <summary>
    /// Pages are about to be unmapped and to leave the file. Drop what refers to them before returning, and take none until
    /// <see cref="InvalidateEnd"/>. Locks of the inode are held, none of an address space or of the file's mappings; may sleep.
    /// </summary>
    public abstract void InvalidateStart(Task? task, in FileNotifyRange range);

    /// <summary>They are gone; faults find what the file has there now.</summary>
    public abstract void InvalidateEnd(Task? task, in FileNotifyRange range);

    /// <summary>Registers for the pages [first, last]; waits for changes of the file that are under way.</summary>
    public void Register(Task? task, PageCache file, ulong first, ulong last)
    {
        (File, First, Last) = (file, first, last);
        file.AddNotifier(task, this);
    }

    /// <summary>Ends it; returns when no callback runs or is still to come.</summary>
    public void Unregister(Task? task)
    {
        File?.RemoveNotifier(task, this);
        File = null;
    }

    internal bool Overlaps(in FileNotifyRange range) => First <= range.Last && range.First <= Last;
}

using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Tasks;
using Microsoft.Win32.SafeHandles;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The pages of a host file: read when first needed, shared by everyone who maps the file, and written back at msync, fsync and when the
/// last writable mapping goes. Reads and writes of a file that is mapped must come through here too, so that both see the same bytes.
/// </summary>
public sealed class HostPageCache : PageCache
{
    private readonly SafeFileHandle _file;
    private SafeFileHandle? _writer;

    /// <param name="pages">The machine's frames.</param>
    /// <param name="file">Owned by the cache from now on.</param>
    public HostPageCache(PageAllocator pages, SafeFileHandle file)
        : base(pages)
    {
        _file = file;
        Size = (ulong)RandomAccess.GetLength(file);
    }

    /// <summary>Null: the host gives no descriptor more.</summary>
    /// <param name="pages">The machine's frames.</param>
    /// <param name="fd">A descriptor of the file that can be read; the cache makes a copy of it.</param>
    internal static HostPageCache? TryCreate(PageAllocator pages, int fd)
    {
        long copy = HostCalls.Duplicate(fd);
        return copy < 0 ? null : new HostPageCache(pages, new SafeFileHandle((nint)copy, ownsHandle: true));
    }

    /// <summary>Opened when there is something to write: while a file is open for writing, the host refuses to run it.</summary>
    private SafeFileHandle Writer
    {
        get
        {
            if (Volatile.Read(ref _writer) is { } writer)
                return writer;
            SafeFileHandle opened = OpenForWriting();
            if (Interlocked.CompareExchange(ref _writer, opened, null) is not { } first)
                return opened;
            if (opened != _file)
                opened.Dispose();
            return first;
        }
    }

    /// <summary>Opens the file anew, whatever its name is by now; where its mode forbids that, the descriptor it was mapped by must do.</summary>
    private SafeFileHandle OpenForWriting()
    {
        try
        {
            return File.OpenHandle($"/proc/self/fd/{_file.DangerousGetHandle()}", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return _file;
        }
    }

    public override bool NeedsWriteBack => true;

    protected override PageFlags FrameFlags => PageFlags.Cache;

    protected override bool NeedsFill => true;

    protected override bool Fill(ulong index, Span<byte> page)
    {
        try
        {
            int done = 0;
            while (done < page.Length)
            {
                int read = RandomAccess.Read(_file, page[done..], (long)(index << 12) + done);
                if (read == 0)
                    break;
                done += read;
            }
            page[done..].Clear();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Looks at the host file's size again: others may have changed it. The caller need not have the file open.</summary>
    public void SizeChanged(Task? task)
    {
        if (!TryGetUser())
            return;
        ulong size = (ulong)RandomAccess.GetLength(_file);
        if (size != Size)
            base.Truncate(task, size);
        PutUser();
    }

    /// <summary>Writes through to the host, so that only stores of mappings are ever owed to it.</summary>
    public override long Write(ulong offset, ReadOnlySpan<byte> buffer, Task? task)
    {
        long written = base.Write(offset, buffer, task);
        if (written <= 0)
            return written;
        try
        {
            RandomAccess.Write(Writer, buffer[..(int)written], (long)offset);
            return written;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return -Errno.EIO;
        }
    }

    public override long WriteBack(ulong first, ulong last)
    {
        long result = 0;
        ForEachPage(first, last, (index, frame) => result = WriteBackPage(index, frame) ? result : -Errno.EIO);
        return result;
    }

    public override long Sync(Task? task, ulong first, ulong last)
    {
        long result = 0;
        ForEachPage(first, last, (index, frame) => result = SyncPage(task, index, frame) ? result : -Errno.EIO);
        return result;
    }

    /// <summary>clear_page_dirty_for_io and the write: whoever stores during the write makes the page dirty again.</summary>
    private bool SyncPage(Task? task, ulong index, Hardware.Memory.Pfn frame)
    {
        if ((Pages[frame].Flags & PageFlags.Dirty) == 0)
            return true;
        Pages.Locks.Lock(task, frame);
        Rmap.PageMkClean(task, new Rmap.Place(null, this, index), frame);
        bool written = Clean(index, frame);
        Pages.Locks.Unlock(frame);
        return written;
    }

    private bool WriteBackPage(ulong index, Hardware.Memory.Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Dirty) == 0)
            return true;
        // While somebody may write through a mapping without a fault, the page stays dirty and is written again the next time.
        if (WritableMappings == 0)
            PageAllocator.ClearFlags(ref page, PageFlags.Dirty);
        return WriteOut(index, frame);
    }

    protected override bool Clean(ulong index, Hardware.Memory.Pfn frame)
    {
        ref Page page = ref Pages[frame];
        PageAllocator.ClearFlags(ref page, PageFlags.Dirty);
        if (WriteOut(index, frame))
            return true;
        PageAllocator.SetFlags(ref page, PageFlags.Dirty);
        return false;
    }

    private unsafe bool WriteOut(ulong index, Hardware.Memory.Pfn frame)
    {
        // In bounds: an index of the cache is less than MaxSize in bytes, and a part of a page is written.
        ulong offset = index << 12;
        if (offset >= Size)
            return true;
        int length = (int)Math.Min(4096, Size - offset);
        try
        {
            RandomAccess.Write(Writer, new ReadOnlySpan<byte>(Pages.Memory.Pointer(frame), length), (long)offset);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    protected override void Release()
    {
        WriteBack(0, ulong.MaxValue >> 12);
        base.Release();
        CloseFile();
    }

    /// <summary>Gives the host's descriptors back; nobody uses the cache any more.</summary>
    internal void CloseFile()
    {
        _writer?.Dispose();
        _file.Dispose();
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Mirrors;

/// <summary>An open /dev/udmabuf: makes buffers of pages of memfds.</summary>
internal sealed class UdmabufDevice(int flags) : OpenFile(flags)
{
    /// <summary>The number of miscellaneous devices, and one of those that are given out.</summary>
    public const uint Major = 10, Minor = 125;

    private const uint CloseOnExec = 1;

    private const Seals Wanted = Seals.Shrink, Denied = Seals.AnyWrite;

    public static UdmabufDevice Open(Task task, Files.Path path, int flags)
    {
        task.Machine.DmaBufs.DeclareLockOrder(task);
        return new UdmabufDevice(flags) { Path = path };
    }

    public override long Ioctl(Task task, uint command, ulong argument)
    {
        using OperationScope operation = task.Operation("udmabuf ioctl");
        return (UdmabufIoctl)command switch
        {
            UdmabufIoctl.Create => Create(task, argument),
            UdmabufIoctl.CreateList => CreateList(task, argument),
            _ => -Errno.ENOTTY,
        };
    }

    private static long Create(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out UdmabufCreate create))
            return -Errno.EFAULT;
        return Create(task, create.Flags, [new UdmabufCreateItem { Memfd = create.Memfd, Offset = create.Offset, Size = create.Size }]);
    }

    private static long CreateList(Task task, ulong argument)
    {
        if (!task.TryRead(argument, out UdmabufCreateList head))
            return -Errno.EFAULT;
        if (head.Count > (uint)task.Machine.DmaBufs.Udmabuf.ListLimit)
            return -Errno.EINVAL;
        // In bounds: list_limit, which cannot be set beyond MostEntries.
        var list = new UdmabufCreateItem[head.Count];
        if (list.Length > 0 && !task.CopyFromUser(argument + 8, System.Runtime.InteropServices.MemoryMarshal.AsBytes(list.AsSpan())))
            return -Errno.EFAULT;
        return Create(task, head.Flags, list);
    }

    /// <summary>udmabuf_create, with its checks in their order.</summary>
    private static long Create(Task task, uint flags, UdmabufCreateItem[] list)
    {
        UdmabufOptions options = task.Machine.DmaBufs.Udmabuf;
        ulong total = 0, limit = (ulong)options.SizeLimitMb << (20 - Pfn.Shift);
        foreach (UdmabufCreateItem item in list)
        {
            if (!Layout.IsPageAligned(item.Offset) || !Layout.IsPageAligned(item.Size))
                return -Errno.EINVAL;
            total += item.Size >> Pfn.Shift;
            if (total > limit)
                return -Errno.EINVAL;
        }
        if (total == 0)
            return -Errno.EINVAL;
        if (!task.Machine.KernelMemory.HasRoom)
            return -Errno.ENOMEM;
        var files = new List<OpenFile>();
        try
        {
            long error = FindItems(task, list, files, out List<UdmabufItem> items);
            return error != 0 ? error : Export(task, options, [.. items], (flags & CloseOnExec) != 0 ? O_CLOEXEC : 0);
        }
        finally
        {
            foreach (OpenFile file in files)
                file.Put();
        }
    }

    private static long FindItems(Task task, UdmabufCreateItem[] list, List<OpenFile> files, out List<UdmabufItem> items)
    {
        items = [];
        ulong start = 0;
        foreach (UdmabufCreateItem item in list)
        {
            using FileReference reference = task.Files.GetForIo(item.Memfd);
            if (reference.File?.Mapping is not (ShmemPageCache or HugeTlbPageCache))
                return -Errno.EBADFD;
            PageCache cache = reference.File.Mapping;
            Seals seals = ((ISealable)cache).Seals;
            if ((seals & Wanted) != Wanted || (seals & Denied) != 0)
                return -Errno.EINVAL;
            ulong first = item.Offset >> Pfn.Shift, pages = item.Size >> Pfn.Shift;
            if (pages == 0 && task.Machine.Options.Profile != KernelProfile.V6_1)
                return -Errno.EINVAL;
            if (first + pages > (cache.Size + 0xFFF) >> Pfn.Shift || first + pages < first)
                return -Errno.EINVAL;
            if (pages == 0)
                continue;
            var found = new UdmabufItem(cache, first, pages, start);
            // One item after the other: its pages before the next one's file.
            if (task.Machine.Options.Profile == KernelProfile.V6_1 && !found.HasHugePages(task.Machine.Pages))
                return -Errno.EINVAL;
            files.Add(reference.File.Get());
            items.Add(found);
            start += pages;
        }
        return 0;
    }

    private static long Export(Task task, UdmabufOptions options, UdmabufItem[] items, int flags)
    {
        Machine machine = task.Machine;
        Udmabuf udmabuf = options.Mode.Create(machine, items);
        int error = udmabuf.Populate(task);
        DmaBuf? buffer = null;
        if (error == 0)
            error = DmaBuf.Export(task, machine, udmabuf, "udmabuf", udmabuf.PageCount << Pfn.Shift, out buffer);
        if (error != 0)
        {
            udmabuf.Release(task);
            return error;
        }
        udmabuf.Buffer = buffer!;
        return DescriptorSyscalls.Install(task, DmaBufFile.Create(task, buffer!), flags);
    }
}

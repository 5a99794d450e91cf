using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>The character devices, by number (Documentation/admin-guide/devices.txt).</summary>
internal static class Devices
{
    public static readonly (string Name, uint Major, uint Minor, uint Mode)[] Nodes =
    [
        ("null", 1, 3, 0x1B6), ("zero", 1, 5, 0x1B6), ("full", 1, 7, 0x1B6), ("random", 1, 8, 0x1B6), ("urandom", 1, 9, 0x1B6),
        ("tty", 5, 0, 0x1B6),
        ("hmm_dmirror0", DmirrorFile.Major, 0, 0x1B6), ("hmm_dmirror1", DmirrorFile.Major, 1, 0x1B6),
        ("hmm_dmirror2", DmirrorFile.Major, 2, 0x1B6), ("hmm_dmirror3", DmirrorFile.Major, 3, 0x1B6),
        ("udmabuf", UdmabufDevice.Major, UdmabufDevice.Minor, 0x1B6),
        ("remote-map", RemoteMapFile.Major, RemoteMapFile.Minor, 0x1B6), ("remote-mirror", RemoteMirrorFile.Major, RemoteMirrorFile.Minor, 0x1B6),
        ("dmabuf_importer0", ImporterFile.Major, ImporterFile.FirstMinor, 0x1B6), ("dmabuf_importer1", ImporterFile.Major, ImporterFile.FirstMinor + 1, 0x1B6),
        ("dmabuf_importer2", ImporterFile.Major, ImporterFile.FirstMinor + 2, 0x1B6),
    ];

    public static long Open(Task task, Path path, ulong device, int flags, out OpenFile? file)
    {
        if (DeviceNumber.Major(device) == DmirrorFile.Major && DeviceNumber.Minor(device) < DmirrorDevice.Count)
            return DmirrorFile.Open(task, path, task.Machine.Dmirrors[(int)DeviceNumber.Minor(device)], flags, out file);
        if (DeviceNumber.Major(device) == RemoteMapFile.Major && DeviceNumber.Minor(device) == RemoteMapFile.Minor)
            return RemoteMapFile.Open(task, path, flags, out file);
        if (DeviceNumber.Major(device) == ImporterFile.Major && DeviceNumber.Minor(device) - ImporterFile.FirstMinor < ImporterFile.Count)
            return ImporterFile.Open(task.Machine, path, DeviceNumber.Minor(device) - ImporterFile.FirstMinor, flags, out file);
        file = (DeviceNumber.Major(device), DeviceNumber.Minor(device)) switch
        {
            (1, 3) => new NullDevice(flags) { Path = path },
            (1, 5) => new ZeroDevice(flags, full: false) { Path = path },
            (1, 7) => new ZeroDevice(flags, full: true) { Path = path },
            (1, 8) or (1, 9) => new RandomDevice(flags) { Path = path },
            (UdmabufDevice.Major, UdmabufDevice.Minor) => UdmabufDevice.Open(task, path, flags),
            (RemoteMirrorFile.Major, RemoteMirrorFile.Minor) => new RemoteMirrorFile(task, flags) { Path = path },
            (5, 0) => task.Machine.Vfs.OpenControllingTerminal(task, path, flags),
            _ => null,
        };
        return file is null ? -Errno.ENXIO : 0;
    }
}

/// <summary>A device without a size: seeking succeeds and goes nowhere (drivers/char/mem.c:null_lseek).</summary>
internal abstract class MemoryDevice(int flags) : OpenFile(flags)
{
    public override bool IsSeekable => true;

    public override long Seek(Task task, long offset, int whence) => Position = 0;
}

internal sealed class NullDevice(int flags) : MemoryDevice(flags)
{
    public override long Read(Task task, Span<byte> buffer, ref long position) => 0;

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => buffer.Length;
}

internal sealed class ZeroDevice(int flags, bool full) : MemoryDevice(flags)
{
    /// <summary>mmap of /dev/zero is anonymous memory.</summary>
    internal bool MapsAnonymously => !full;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        buffer.Clear();
        return buffer.Length;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => full ? -Errno.ENOSPC : buffer.Length;
}

internal sealed class RandomDevice(int flags) : MemoryDevice(flags)
{
    private const uint RNDGETENTCNT = 0x8004_5200;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        task.Machine.Random.Fill(buffer);
        return buffer.Length;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => buffer.Length;

    public override long Ioctl(Task task, uint command, ulong argument) =>
        command == RNDGETENTCNT ? (task.TryWrite(argument, 256) ? 0 : -Errno.EFAULT) : -Errno.ENOTTY;
}

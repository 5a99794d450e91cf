using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Mirrors.Mshare;

namespace Emulator.Tests.Fuzz;

/// <summary>Ioctls with the structures that their devices expect, about memory and buffers that are there. What is wrong about them the caller adds.</summary>
internal sealed partial class DeviceCases
{
    private (ulong Fd, uint Command, ulong Argument) WellFormed()
    {
        ulong page = ArenaAddress() & ~0xFFFUL, pages = (ulong)Random.Next(1, 12);
        return Random.Next(16) switch
        {
            < 3 => (Device("hmm_dmirror"), (uint)Pick(Enum.GetValues<DmirrorIoctl>()), Words(page, ArenaAddress(), pages, 0, 0)),
            3 => (Device("udmabuf"), (uint)UdmabufIoctl.Create, Words(Memfd() | (ulong)(uint)Random.Next(2) << 32, (ulong)Random.Next(4) << 12, (ulong)Random.Next(1, 8) << 12)),
            4 => (Device("udmabuf"), (uint)UdmabufIoctl.CreateList, BufferList()),
            5 => (Buffer(), (uint)Pick(Enum.GetValues<DmaBufIoctl>()), OneIn(2) ? Words((ulong)Random.Next(8)) : Words((uint)Random.Next(4) | Fd() << 32)),
            < 9 => Import(),
            9 or 10 => Share(),
            11 or 12 => (Device("remote-map"), (uint)RemoteMapIoctl.Map, Words(OneIn(3) ? Supervisor : Worker(), ArenaAddress() & ~0xFFFUL, page)),
            13 => (Device("remote-map"), (uint)RemoteMapIoctl.Unmap, page),
            14 => (Device("remote-mirror"), (uint)RemoteMirrorIoctl.Attach, Words(OneIn(3) ? Supervisor : Worker(), FuzzGuest.Arena, (ulong)FuzzGuest.ArenaPages << 12)),
            _ => (Device("remote-mirror"), (uint)RemoteMirrorIoctl.Stats, ArenaAddress()),
        };
    }

    private (ulong Fd, uint Command, ulong Argument) Import()
    {
        ulong fd = Device("dmabuf_importer"), handle = (ulong)Random.Next(1, 4), offset = (ulong)Random.Next(0x8000), length = (ulong)Random.Next(1, 0x8000);
        ulong job = Words(handle | (ulong)Random.Next(4) << 32, offset, Math.Min(length, 0x8000 - offset), ArenaAddress(), (ulong)Random.NextInt64(), 0);
        return Random.Next(9) switch
        {
            0 => (fd, (uint)ImporterIoctl.Attach, Words(Buffer(), 0, 0)),
            1 => (fd, (uint)ImporterIoctl.Detach, Words(handle)),
            2 or 3 => (fd, (uint)ImporterIoctl.Transfer, job),
            4 or 5 => (fd, (uint)ImporterIoctl.Submit, job),
            6 => (fd, (uint)ImporterIoctl.Wait, Words((ulong)Random.Next(6), 0, (ulong)Random.Next(3))),
            7 => (fd, (uint)ImporterIoctl.Scanout, Words(handle | (ulong)Random.Next(2) << 32, offset & ~0xFFFUL, 0x1000)),
            _ => (fd, (uint)Pick<ImporterIoctl>([ImporterIoctl.Frame, ImporterIoctl.Stats]), ArenaAddress()),
        };
    }

    private (ulong Fd, uint Command, ulong Argument) Share()
    {
        const ulong SharedFixed = 0x11, Anonymous = 0x20;
        ulong address = FuzzWorld.Region + ((ulong)Random.Next(32) << 12), size = (ulong)Random.Next(1, 12) << 12;
        bool anonymous = OneIn(2);
        MshareIoctl command = Random.Next(5) switch { 0 or 1 => MshareIoctl.CreateMapping, 2 => MshareIoctl.Unmap, 3 => MshareIoctl.Protect, _ => Pick<MshareIoctl>([MshareIoctl.GetSize, MshareIoctl.SetSize]) };
        ulong argument = command == MshareIoctl.CreateMapping
            ? Words(address, size, (ulong)Random.Next(4) << 12, 3 | (SharedFixed | (anonymous ? Anonymous : 0)) << 32, anonymous ? uint.MaxValue : Memfd())
            : Words(address, size, (ulong)Random.Next(4));
        return ((ulong)World.RegionFd, (uint)command, argument);
    }

    private ulong BufferList()
    {
        ulong items = (ulong)Random.Next(1, 4);
        List<ulong> words = [(uint)Random.Next(2) | items << 32];
        for (ulong i = 0; i < items; i++)
            words.AddRange([Memfd(), (ulong)Random.Next(4) << 12, (ulong)Random.Next(1, 5) << 12]);
        return Words([.. words]);
    }

    /// <summary>One that the device has, or one that a case before opened.</summary>
    private ulong Device(string name) => OneIn(6) ? (ulong)(World.FdLimit + Random.Next(6)) : (ulong)Pick(World.DevicesOf(name));

    private ulong Buffer() => OneIn(2) ? (ulong)World.Buffer : (ulong)(World.FdLimit + Random.Next(6));

    private ulong Memfd() => (uint)World.Memories[Random.Next(World.Memories.Count)];
}

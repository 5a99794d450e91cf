using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>A region of msharefs, used by actors through system calls as programs would.</summary>
/// <param name="name">Its name in /sys/fs/mshare.</param>
internal sealed class Region(string name)
{
    /// <summary>The unit of sharing: what one top-level entry translates.</summary>
    public const ulong Unit = MshareRegion.Unit;

    /// <summary>Where regions of scenarios begin: 4 units, as in the cover letter's example.</summary>
    public const ulong Start = 4 * Unit;

    private readonly Dictionary<Actor, int> _descriptors = [];

    /// <summary>Makes the file.</summary>
    public void Create(Actor actor) => Open(actor, O_RDWR | O_CREAT | O_EXCL);

    /// <summary>Opens the file, once for each actor.</summary>
    /// <returns>The descriptor.</returns>
    public int Open(Actor actor, int flags = O_RDWR)
    {
        if (_descriptors.TryGetValue(actor, out int known))
            return known;
        long fd = Try(actor, flags);
        Claim.Require(fd >= 0, $"{actor.Name} cannot open the region: {Errors.Name(fd)}");
        return _descriptors[actor] = (int)fd;
    }

    /// <summary>open(2) on the region's name.</summary>
    public long Try(Actor actor, int flags) => actor.Syscall(SystemCall.Open, actor.Pass(Encoding.ASCII.GetBytes($"/sys/fs/mshare/{name}\0")), (ulong)flags, 0x180);

    public long SetSize(Actor actor, ulong start, ulong size) => Ioctl(actor, MshareIoctl.SetSize, new MshareInfo(start, size));

    public (long Error, ulong Start, ulong Size) GetSize(Actor actor)
    {
        ulong at = actor.Pass(new MshareInfo(0, 0));
        long error = actor.Syscall(SystemCall.Ioctl, (ulong)Open(actor), (uint)MshareIoctl.GetSize, at);
        MshareInfo info = actor.Ask(task => task.TryRead(at, out MshareInfo read) ? read : default);
        return (error, info.Start, info.Size);
    }

    /// <summary>MSHAREFS_CREATE_MAPPING.</summary>
    public long CreateMapping(Actor actor, ulong address, ulong size, int prot = PROT_READ | PROT_WRITE, uint fd = uint.MaxValue) =>
        Ioctl(actor, MshareIoctl.CreateMapping, new MshareCreate(address, size, 0, (uint)prot, MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED, fd, 0));

    /// <summary>mmap of the file.</summary>
    public long Map(Actor actor, ulong address, ulong size, int prot = PROT_READ | PROT_WRITE, int flags = MAP_SHARED, ulong offset = 0) =>
        actor.Syscall(SystemCall.Mmap, address, size, (ulong)prot, (ulong)flags, (ulong)Open(actor), offset);

    /// <summary>Unmaps a page for all who share: by an ioctl of ours, or, where there is none, as one would do it in the kernel.</summary>
    public void Remove(Actor actor, int page)
    {
        long error = actor.Ask(static task => task.Machine.Options.MshareVariant) == MshareVariant.Corrected
            ? Ioctl(actor, MshareIoctl.Unmap, new MshareUnmap(Page(page), 4096))
            : Remove(actor, Host(actor), page);
        Claim.Require(error == 0, $"{actor.Name} cannot unmap a page for all: {Errors.Name(error)}");
    }

    private static long Remove(Actor actor, Mm host, int page) => actor.Ask(task => host.Munmap(task, Page(page), 4096));

    public void Close(Actor actor)
    {
        if (_descriptors.Remove(actor, out int fd))
            actor.Syscall(SystemCall.Close, (ulong)fd);
    }

    /// <summary>The host address space.</summary>
    public Mm Host(Actor actor)
    {
        int fd = Open(actor);
        return actor.Ask(task =>
        {
            using FileReference reference = task.Files.Get(fd);
            return ((ISharedRegion)reference.File!).Tables.Host;
        });
    }

    private long Ioctl<T>(Actor actor, MshareIoctl command, T argument)
        where T : unmanaged => actor.Syscall(SystemCall.Ioctl, (ulong)Open(actor), (uint)command, actor.Pass(argument));

    /// <summary>A region of one unit whose first pages are mapped, each by itself, and filled; the actor has it mapped.</summary>
    public static Region Make(Actor actor, int pages, ulong units = 1)
    {
        var region = new Region("region");
        region.Create(actor);
        Claim.Require(region.SetSize(actor, Start, units * Unit) == 0, "the region cannot be sized");
        for (int i = 0; i < pages; i++)
            Claim.Require(region.CreateMapping(actor, Page(i), 4096) == 0, "nothing can be mapped in the region");
        region.Attach(actor);
        for (int i = 0; i < pages; i++)
            Claim.Require(actor.Write(Page(i), (byte)(i + 1)), "the region cannot be filled");
        return region;
    }

    public static ulong Page(int index) => Start + ((ulong)index << 12);

    /// <summary>Maps the first unit at its own address, and reads its first page if there is one.</summary>
    public void Attach(Actor actor, int prot = PROT_READ | PROT_WRITE)
    {
        long at = Map(actor, Start, Unit, prot, MAP_SHARED | MAP_FIXED);
        Claim.Require(at == (long)Start, $"{actor.Name} cannot map the region: {Errors.Name(at)}");
        actor.Read(Start);
    }
}

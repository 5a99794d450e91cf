using System.Text;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Mirrors;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Remote;

/// <summary>A target with memory of its own, each page of which holds its number plus one, and a client that looks at it through the devices.</summary>
internal sealed class Inspection
{
    private const ulong ReadWrite = 2;

    public Inspection(Stage stage, int pages)
    {
        (Target, Client) = (stage.Enter("target", 0), stage.Enter("client", 1));
        Memory = Target.Map(pages);
        for (int i = 0; i < pages; i++)
            Target.Write(Memory + ((ulong)i << Pfn.Shift), (byte)(i + 1));
    }

    public Actor Target { get; }

    public Actor Client { get; }

    /// <summary>Where the target's pages are.</summary>
    public ulong Memory { get; }

    public ulong Pid => (ulong)Target.Thread.Task.Tid;

    public static ulong Open(Actor actor, string device)
    {
        long fd = actor.Syscall(SystemCall.Open, actor.Pass(Encoding.ASCII.GetBytes($"/dev/{device}\0")), ReadWrite, 0);
        Claim.Require(fd >= 0, $"/dev/{device} cannot be opened");
        return (ulong)fd;
    }

    /// <summary>Mirrors the target's pages in the client; returns where.</summary>
    public ulong Mirror(int pages)
    {
        ulong fd = Open(Client, "remote-mirror"), length = (ulong)pages << Pfn.Shift;
        ulong attach = Client.Pass(new RemoteMirrorAttach { Pid = (uint)Pid, Start = Memory, Length = length });
        Claim.Require(Client.Syscall(SystemCall.Ioctl, fd, (uint)RemoteMirrorIoctl.Attach, attach) == 0, "the mirror does not attach");
        long at = Client.Syscall(SystemCall.Mmap, 0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        Claim.Require(at > 0, "the mirror cannot be mapped");
        return (ulong)at;
    }

    /// <summary>Memory of the client's with a page in it, to be replaced.</summary>
    public static ulong Place(Actor client)
    {
        ulong at = client.Map(1);
        client.Write(at, 0);
        return at;
    }

    public long Map(Actor client, ulong fd, ulong page, ulong at) =>
        client.Syscall(SystemCall.Ioctl, fd, (uint)RemoteMapIoctl.Map, client.Pass(new RemoteMapRequest { Pid = (uint)Pid, Requested = Memory + (page << Pfn.Shift), Mapped = at }));

    public static long Unmap(Actor client, ulong fd, ulong at) => client.Syscall(SystemCall.Ioctl, fd, (uint)RemoteMapIoctl.Unmap, at);

    public void EndTarget(Stage stage)
    {
        Target.Leave();
        Target.Thread.Join(stage.Task);
    }
}

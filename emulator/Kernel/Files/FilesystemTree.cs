using System.Globalization;
using System.Text;
using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Files.Proc;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>Makes the tree that a guest starts with: root, grants, and our own /dev, /proc and /sys on top.</summary>
internal static class FilesystemTree
{
    private const uint Uid = Credentials.UserId, Gid = Credentials.GroupId;

    public static Path Build(Vfs vfs)
    {
        MachineOptions options = vfs.Machine.Options;
        List<Bind> binds = [.. options.Binds.OrderBy(static b => Depth(b.GuestPath))];
        Bind? rootBind = options.RootDirectory is { } directory ? new Bind(directory, "/") : binds.Find(static b => Depth(b.GuestPath) == 0);
        Path root = rootBind is null ? MountMemoryRoot(vfs) : MountBind(vfs, default, "/", rootBind);
        AddOwnTrees(vfs, root);
        foreach (Bind bind in binds)
        {
            if (Depth(bind.GuestPath) == 0)
                continue;
            (Path parent, string name) = MakeMountPoint(vfs, root, bind);
            MountBind(vfs, parent, name, bind);
        }
        return root;
    }

    private static int Depth(string path) => Components(path).Length;

    private static string[] Components(string path) =>
        Latin1(path).Split('/', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Host text as the byte string that the guest's kernel works with.</summary>
    private static string Latin1(string text) => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text));

    private static Path MountBind(Vfs vfs, Path parent, string name, Bind bind)
    {
        HostFs fs = HostFs.TryOpen(vfs.Machine, vfs.NextMinor(), bind.HostPath, out long error)
            ?? throw new MachineOptionsException($"cannot grant {bind.HostPath}: {Errno.Name(-error)}");
        vfs.Own(fs);
        Mount mount = vfs.AddMount(fs.Root, parent, name, bind.ReadOnly, Latin1(bind.HostPath));
        return new Path(mount, mount.Root);
    }

    /// <summary>Finds, or makes in memory, the directory in which a grant appears.</summary>
    private static (Path Parent, string Name) MakeMountPoint(Vfs vfs, Path root, Bind bind)
    {
        string[] names = Components(bind.GuestPath);
        if (names.Contains("..") || names.Contains("."))
            throw new MachineOptionsException($"cannot grant {bind.HostPath} at {bind.GuestPath}: the guest path must be plain");
        Path at = root;
        foreach (string name in names[..^1])
        {
            if (vfs.LookupChild(null!, at, name, out Path next) < 0)
            {
                if (at.Dentry!.Filesystem is not TmpFs fs)
                    throw new MachineOptionsException($"cannot grant {bind.HostPath} at {bind.GuestPath}: there is no directory {name}");
                next = at with { Dentry = fs.AddDirectory(at.Dentry, name, 0x1ED, Uid, Gid) };
            }
            if (!next.Inode.IsDirectory)
                throw new MachineOptionsException($"cannot grant {bind.HostPath} at {bind.GuestPath}: {name} is not a directory");
            at = next;
        }
        return (at, names[^1]);
    }

    private static Path MountMemoryRoot(Vfs vfs)
    {
        var fs = new TmpFs(vfs.Machine, vfs.NextMinor(), 0x1ED, Uid, Gid);
        foreach (string name in (string[])["bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "var"])
            fs.AddDirectory(fs.Root, name, 0x1ED, Uid, Gid);
        fs.AddDirectory(fs.Root, "tmp", 0x3FF, Uid, Gid);
        Dentry home = Child(fs, "home");
        fs.AddDirectory(home, "user", 0x1ED, Uid, Gid);
        fs.AddDirectory(Child(fs, "var"), "tmp", 0x3FF, Uid, Gid);
        Dentry etc = Child(fs, "etc");
        const uint Text = 0x1A4;
        fs.AddFile(etc, "passwd", string.Create(CultureInfo.InvariantCulture, $"user:x:{Uid}:{Gid}:user:/home/user:/bin/sh\n"), Text, Uid, Gid);
        fs.AddFile(etc, "group", string.Create(CultureInfo.InvariantCulture, $"user:x:{Gid}:\n"), Text, Uid, Gid);
        fs.AddFile(etc, "hosts", "127.0.0.1\tlocalhost\n", Text, Uid, Gid);
        fs.AddFile(etc, "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n", Text, Uid, Gid);
        fs.AddSymlink(etc, "mtab", "/proc/self/mounts", Uid, Gid);
        Mount mount = vfs.AddMount(fs.Root, default, "/", readOnly: false, "tmpfs");
        return new Path(mount, fs.Root);
    }

    private static Dentry Child(TmpFs fs, string name)
    {
        fs.Root.Inode.Lookup(null!, fs.Root, name, out Dentry? child);
        return child!;
    }

    private static void AddOwnTrees(Vfs vfs, Path root)
    {
        TmpFs dev = BuildDev(vfs);
        Mount(dev, "dev", "devtmpfs");
        Mount(new ProcFs(vfs.Machine, vfs.NextMinor()), "proc", "proc");
        Mount sys = Mount(SysFs.Build(vfs), "sys", "sysfs");
        if (vfs.Machine.Options.MountMshare)
        {
            Dentry mountPoints = Child((TmpFs)sys.Root.Filesystem, "fs");
            vfs.AddMount(new MshareFs(vfs.Machine, vfs.NextMinor()).Root, new Path(sys, mountPoints), "mshare", readOnly: false, MshareFs.Type);
        }

        Mount Mount(Filesystem fs, string name, string source) => vfs.AddMount(fs.Root, root, name, readOnly: false, source);
    }

    private static TmpFs BuildDev(Vfs vfs)
    {
        var dev = new TmpFs(vfs.Machine, vfs.NextMinor(), 0x1ED, Uid, Gid, "devtmpfs");
        foreach ((string name, uint major, uint minor, uint mode) in Devices.Nodes)
            dev.AddEntry(dev.Root, name, new SpecialInode(dev, S_IFCHR | mode, Uid, Gid, DeviceNumber.Make(major, minor)));
        dev.AddSymlink(dev.Root, "fd", "/proc/self/fd", Uid, Gid);
        dev.AddSymlink(dev.Root, "stdin", "/proc/self/fd/0", Uid, Gid);
        dev.AddSymlink(dev.Root, "stdout", "/proc/self/fd/1", Uid, Gid);
        dev.AddSymlink(dev.Root, "stderr", "/proc/self/fd/2", Uid, Gid);
        dev.AddDirectory(dev.Root, "shm", 0x3FF, Uid, Gid);
        vfs.PtsDirectory = dev.AddDirectory(dev.Root, "pts", 0x1ED, Uid, Gid);
        return dev;
    }
}

/// <summary>The machine cannot be made as asked; the message is one line for the user.</summary>
public sealed class MachineOptionsException : ArgumentException
{
    public MachineOptionsException()
    {
    }

    public MachineOptionsException(string message)
        : base(message)
    {
    }

    public MachineOptionsException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

using System.Text;
using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>The beginning and the end: what the first task has open, and what the machine gives back.</summary>
public sealed partial class Vfs : IDisposable
{
    private readonly List<HostFs> _owned = [];

    /// <summary>Where the names of pseudo-terminals are.</summary>
    internal Dentry PtsDirectory { get; set; } = null!;

    /// <summary>The process group that the terminal's signals go to; null when no guest has the terminal.</summary>
    public int? ForegroundGroup => Terminal.ForegroundGroup is > 0 and var group ? group : null;

    internal void Own(HostFs fs) => _owned.Add(fs);

    public void Dispose()
    {
        foreach (HostFs fs in _owned)
            fs.Dispose();
        _owned.Clear();
    }

    /// <summary>Descriptors 0, 1 and 2, and the directory to start in.</summary>
    internal (FdTable Files, FsContext Fs) CreateFirst(Task task)
    {
        MachineOptions options = Machine.Options;
        var files = new FdTable { Memory = Machine.KernelMemory };
        int[] streams = [options.Stdin, options.Stdout, options.Stderr];
        for (int fd = 0; fd < streams.Length; fd++)
        {
            if (OpenStream(task, streams[fd], fd == 0 ? O_RDONLY : O_WRONLY) is { } stream)
                files.InstallAt(task, fd, stream, closeOnExec: false);
        }
        if (streams.Any(HostCalls.IsTerminal))
        {
            Terminal.Session = task.Process.Session;
            Terminal.ForegroundGroup = task.Process.ProcessGroup;
        }
        var fs = new FsContext(Root, Root);
        task.Fs = fs;
        fs.WorkingDirectory = StartDirectory(task);
        return (files, fs);
    }

    /// <summary>The place of a host program that no grant covers: it has no name, but can be opened again.</summary>
    internal Path ProgramPath(string hostPath)
    {
        string full = HostCalls.RealPath(hostPath);
        return Anonymous.Add(new HostProgramInode(Machine, full), Bytes(full));
    }

    private HostStream? OpenStream(Task task, int hostFd, int fallback)
    {
        if (hostFd < 0 || HostCalls.StatAt(hostFd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx stat) < 0)
            return null;
        long hostFlags = HostCalls.GetFlags(hostFd);
        int flags = hostFlags < 0 ? fallback : (int)hostFlags & (O_ACCMODE | O_APPEND | O_LARGEFILE);
        if (HostCalls.IsTerminal(hostFd))
            return new HostStream(Machine, hostFd, flags) { Path = TerminalPath(hostFd) };
        var inode = new HostStreamInode(Anonymous, stat.Mode, Credentials.UserId, Credentials.GroupId, hostFd);
        string name = (stat.Mode & S_IFMT) switch
        {
            S_IFIFO => $"pipe:[{stat.Inode}]",
            S_IFSOCK => $"socket:[{stat.Inode}]",
            S_IFCHR => "/dev/null",
            _ => "/host-stream",
        };
        return new HostStream(Machine, hostFd, flags) { Path = Anonymous.Add(inode, name) };
    }

    /// <summary>/dev/pts/0 is the terminal that the emulator runs on.</summary>
    private Path TerminalPath(int hostFd)
    {
        var fs = (TmpFs)PtsDirectory.Filesystem;
        if (PtsDirectory.Inode.Lookup(null!, PtsDirectory, "0", out Dentry? node) < 0)
        {
            const uint UnixPtySlaveMajor = 136, Mode = 0x190;
            node = fs.AddEntry(PtsDirectory, "0", new HostStreamInode(fs, S_IFCHR | Mode, Credentials.UserId, Credentials.GroupId, hostFd, DeviceNumber.Make(UnixPtySlaveMajor, 0)));
        }
        return new Path(_mounts.Find(m => m.Root.Filesystem == fs), node);
    }

    private Path StartDirectory(Task task)
    {
        if (Machine.Options.WorkingDirectory is { } asked)
        {
            long r = Walk(task, AT_FDCWD, Bytes(asked), WalkFlags.Follow, out Path path);
            if (r < 0 || !path.Inode.IsDirectory)
                throw new MachineOptionsException($"cannot start in {asked}: {Tracing.ErrnoText.Describe((int)(r < 0 ? -r : Errno.ENOTDIR))} (in the guest's view)");
            return path;
        }
        return GuestPathOf(Environment.CurrentDirectory) is { } guest && Walk(task, AT_FDCWD, Bytes(guest), WalkFlags.Follow, out Path here) == 0 && here.Inode.IsDirectory
            ? here : Root;
    }

    private static string Bytes(string text) => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text));

    /// <summary>Where the guest sees a host path, through the longest grant that covers it; null if none does.</summary>
    public string? GuestPathOf(string hostPath)
    {
        (string Guest, int Length)? best = null;
        IEnumerable<Bind> grants = Machine.Options.RootDirectory is { } root ? [.. Machine.Options.Binds, new Bind(root, "/")] : Machine.Options.Binds;
        foreach (Bind bind in grants)
        {
            string host = System.IO.Path.GetFullPath(bind.HostPath).TrimEnd('/');
            if (!string.Equals(hostPath, host, StringComparison.Ordinal) && !hostPath.StartsWith(host + "/", StringComparison.Ordinal))
                continue;
            string guest = bind.GuestPath.TrimEnd('/') + hostPath[host.Length..];
            if (best is null || host.Length > best.Value.Length)
                best = (guest.Length == 0 ? "/" : guest, host.Length);
        }
        return best?.Guest;
    }

    /// <summary>/dev/tty: the terminal of the caller's session.</summary>
    internal OpenFile? OpenControllingTerminal(Task task, Path path, int flags)
    {
        if (Terminal.Session == 0 || Terminal.Session != task.Process.Session)
            return null;
        MachineOptions options = Machine.Options;
        foreach (int fd in (int[])[options.Stdin, options.Stdout, options.Stderr])
        {
            if (HostCalls.IsTerminal(fd))
                return new HostStream(Machine, fd, flags) { Path = path };
        }
        return null;
    }

    /// <summary>The terminal hangs up on the foreground of a session whose leader ends (drivers/tty/tty_jobctrl.c:disassociate_ctty).</summary>
    internal void OnSessionLeaderExit(Task last)
    {
        if (Terminal.Session == 0 || Terminal.Session != last.Process.Session)
            return;
        Terminal.SignalForeground(Machine, Signal.SIGHUP);
        Terminal.SignalForeground(Machine, Signal.SIGCONT);
        Terminal.Session = Terminal.ForegroundGroup = 0;
    }
}

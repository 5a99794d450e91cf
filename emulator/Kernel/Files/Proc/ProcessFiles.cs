using System.Globalization;
using System.Text;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Proc;

/// <summary>/proc/PID and /proc/PID/task/TID of one process (fs/proc/base.c, array.c).</summary>
internal sealed class ProcessFiles
{
    private static readonly CultureInfo Invariant = CultureInfo.InvariantCulture;

    private readonly ProcFs _fs;
    private readonly Process _process;
    private readonly Task? _thread;
    private readonly uint _uid;
    private readonly uint _gid;

    /// <param name="fs">The file system.</param>
    /// <param name="process">The process.</param>
    /// <param name="thread">The thread of a task directory; the process's own directory shows the first that is left.</param>
    public ProcessFiles(ProcFs fs, Process process, Task? thread = null)
    {
        _fs = fs;
        _process = process;
        _thread = thread ?? FirstThread(process);
        _uid = _thread?.Credentials.EffectiveUid ?? Credentials.UserId;
        _gid = _thread?.Credentials.EffectiveGid ?? Credentials.GroupId;
    }

    /// <summary>Process 1 is the kernel's own and has no thread.</summary>
    private bool IsInit => ReferenceEquals(_process, _process.Machine.Init);

    private static Task? FirstThread(Process process)
    {
        lock (process.SignalLock)
            return process.Threads.Count == 0 ? null : process.Threads[0];
    }

    private static int[] ThreadIds(Process process)
    {
        lock (process.SignalLock)
            return [.. process.Threads.ConvertAll(static t => t.Tid)];
    }

    public ProcDirectory Directory(bool isTask = false)
    {
        List<ProcEntry> entries =
        [
            Text("cmdline", t => IsInit ? "init\0" : MemoryText(t, static mm => (mm.ArgStart, mm.ArgEnd))),
            Text("environ", t => MemoryText(t, static mm => (mm.EnvStart, mm.EnvEnd)), 0x100),
            Text("auxv", _ => _thread?.Mm is { } mm ? Encoding.Latin1.GetString(mm.AuxiliaryVector) : "", 0x100),
            Writable("comm", _ => (IsInit ? "init" : _thread?.Comm ?? "") + "\n", SetComm),
            Text("stat", _ => new ProcessStatus(_process, _thread).Stat()),
            Text("statm", _ => new ProcessStatus(_process, _thread).MemoryStat()),
            Text("status", _ => new ProcessStatus(_process, _thread).Status()),
            Text("maps", t => _thread?.Mm is { } mm ? MapsText.Format(t, mm, details: false) : ""),
            Text("smaps", t => _thread?.Mm is { } mm ? MapsText.Format(t, mm, details: true) : ""),
            Text("smaps_rollup", t => _thread?.Mm is { } mm ? MapsText.Rollup(t, mm) : ""),
            Memory("mem", 0x180, static (mm, path, flags) => new ProcessMemoryFile(mm, flags) { Path = path }),
            Memory("pagemap", 0x100, static (mm, path, flags) => new PagemapFile(mm, flags) { Path = path }),
            Entry("clear_refs", S_IFREG, () => new ProcText(_fs, 0x80, _uid, _gid, static _ => "") { Store = ClearReferences }),
            Text("limits", _ => Limits()),
            Text("mounts", t => MountsText.Mounts(t)),
            Text("mountinfo", t => MountsText.MountInfo(t)),
            Text("cgroup", static _ => "0::/\n"),
            Text("wchan", static _ => "0"),
            Text("schedstat", static _ => "0 0 0\n"),
            Text("loginuid", static _ => "4294967295"),
            Text("oom_score", new OomFiles(_process).Score),
            Writable("oom_score_adj", new OomFiles(_process).ScoreAdj, new OomFiles(_process).SetScoreAdj),
            Writable("oom_adj", new OomFiles(_process).OldAdj, new OomFiles(_process).SetOldAdj),
            Text("io", static _ => "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n", 0x100),
            Link("exe", t => Exists(_process.ExecutablePath), _ => _thread?.Mm?.ExecutableFile?.Path),
            Link("cwd", t => NameOf(t, _thread?.Fs?.WorkingDirectory), _ => _thread?.Fs?.WorkingDirectory),
            Link("root", t => NameOf(t, _thread?.Fs?.Root), _ => _thread?.Fs?.Root),
            Entry("fd", S_IFDIR, () => new ProcDirectory(_fs, _uid, _gid, []) { Numbers = Descriptors, ByNumber = DescriptorLink, NumberType = S_IFLNK }),
            Entry("fdinfo", S_IFDIR, () => new ProcDirectory(_fs, _uid, _gid, []) { Numbers = Descriptors, ByNumber = DescriptorInfo, NumberType = S_IFREG }),
        ];
        if (!isTask)
        {
            entries.Add(Entry("task", S_IFDIR, () => new ProcDirectory(_fs, _uid, _gid, [])
            {
                Numbers = _ => ThreadIds(_process),
                ByNumber = (_, tid) => _fs.Machine.Processes.FindTask(tid) is { } thread && thread.Process == _process
                    ? new ProcessFiles(_fs, _process, thread).Directory(isTask: true) : null,
            }));
        }
        return new ProcDirectory(_fs, _uid, _gid, entries);
    }

    private static ProcEntry Entry(string name, uint type, Func<Inode> make) => new(name, type, make);

    private ProcEntry Text(string name, Func<Task, string> text, uint permissions = 0x124) =>
        Entry(name, S_IFREG, () => new ProcText(_fs, permissions, _uid, _gid, text));

    private ProcEntry Memory(string name, uint permissions, Func<Mm, Path, int, OpenFile> open) =>
        Entry(name, S_IFREG, () => new MemoryFile.Node(_fs, permissions, _uid, _gid, () => _thread?.Mm, open));

    private ProcEntry Writable(string name, Func<Task, string> text, Func<Task, string, long> store) =>
        Entry(name, S_IFREG, () => new ProcText(_fs, 0x1A4, _uid, _gid, text) { Store = store });

    private ProcEntry Link(string name, Func<Task, string?> target, Func<Task, Path?> follow) =>
        Entry(name, S_IFLNK, () => new ProcLink(_fs, _uid, _gid, target) { Follow = follow });

    private static string? Exists(string path) => path.Length == 0 ? null : path;

    private static string? NameOf(Task reader, Path? path) =>
        path is { Dentry: not null } p ? reader.Machine.Vfs.PathName(p, reader.Fs.Root, out _) : null;

    private long ClearReferences(Task writer, string text)
    {
        if (!int.TryParse(text.Trim(), NumberStyles.None, Invariant, out int what) || what is < (int)ClearRefs.All or > (int)ClearRefs.PeakResident)
            return -Errno.EINVAL;
        if (_thread?.Mm is not { } mm || !mm.TryGet())
            return -Errno.ESRCH;
        mm.ClearReferences(writer, (ClearRefs)what);
        mm.Put(writer);
        return 0;
    }

    private long SetComm(Task writer, string text)
    {
        if (_thread is null || writer.Process != _process)
            return -Errno.EINVAL;
        _thread.SetComm(Encoding.Latin1.GetBytes(text.TrimEnd('\n')));
        return 0;
    }

    private string MemoryText(Task reader, Func<Mm, (ulong Start, ulong End)> range)
    {
        if (_thread?.Mm is not { } mm || !mm.TryGet())
            return "";
        (ulong start, ulong end) = range(mm);
        // In bounds: a MiB at most, even of a range that ends before it begins.
        byte[] bytes = new byte[(int)Math.Min(end - start, 1 << 20)];
        int n = mm.ReadMemory(reader, start, bytes);
        mm.Put(reader);
        return Encoding.Latin1.GetString(bytes, 0, Math.Max(0, n));
    }

    private int[] Descriptors(Task reader) => _thread?.Files?.Snapshot() ?? [];

    private ProcLink? DescriptorLink(Task reader, int fd)
    {
        if (_thread?.Files?.IsOpen(fd) != true)
            return null;
        return new ProcLink(_fs, _uid, _gid, _ =>
        {
            using FileReference reference = _thread.Files.Get(fd);
            return reference.File?.DisplayName;
        })
        {
            Follow = _ =>
            {
                using FileReference reference = _thread.Files.Get(fd);
                return reference.File?.Path;
            },
        };
    }

    private ProcText? DescriptorInfo(Task reader, int fd)
    {
        if (_thread?.Files?.IsOpen(fd) != true)
            return null;
        return new ProcText(_fs, 0x100, _uid, _gid, _ =>
        {
            using FileReference reference = _thread.Files.Get(fd);
            if (reference.File is not { } file)
                return "";
            int flags = file.Flags | (_thread.Files.GetCloseOnExec(fd) == true ? O_CLOEXEC : 0);
            string octal = Convert.ToString(flags, 8);
            var text = new StringBuilder();
            text.Append(Invariant, $"pos:\t{file.Position}\nflags:\t0{octal}\nmnt_id:\t{file.Path.Mount?.Id ?? 0}\n");
            file.DescribeTo(text);
            return text.ToString();
        });
    }

    private static readonly (string Name, string Unit, int Number)[] LimitNames =
    [
        ("Max cpu time", "seconds", ResourceLimits.CPU), ("Max file size", "bytes", ResourceLimits.FSIZE), ("Max data size", "bytes", ResourceLimits.DATA),
        ("Max stack size", "bytes", ResourceLimits.STACK), ("Max core file size", "bytes", ResourceLimits.CORE),
        ("Max resident set", "bytes", ResourceLimits.RSS), ("Max processes", "processes", ResourceLimits.NPROC), ("Max open files", "files", ResourceLimits.NOFILE),
        ("Max locked memory", "bytes", ResourceLimits.MEMLOCK), ("Max address space", "bytes", ResourceLimits.AS), ("Max file locks", "locks", ResourceLimits.LOCKS),
        ("Max pending signals", "signals", ResourceLimits.SIGPENDING), ("Max msgqueue size", "bytes", ResourceLimits.MSGQUEUE),
        ("Max nice priority", "", ResourceLimits.NICE), ("Max realtime priority", "", ResourceLimits.RTPRIO), ("Max realtime timeout", "us", ResourceLimits.RTTIME),
    ];

    private string Limits()
    {
        var text = new StringBuilder("Limit                     Soft Limit           Hard Limit           Units     \n");
        foreach ((string name, string unit, int number) in LimitNames)
        {
            ResourceLimit limit = _process.Limits[number];
            text.Append(Invariant, $"{name,-25} {Show(limit.Current),-20} {Show(limit.Maximum),-20} {unit,-10}\n");
        }
        return text.ToString();

        static string Show(ulong value) => value == ResourceLimit.Infinity ? "unlimited" : value.ToString(Invariant);
    }
}

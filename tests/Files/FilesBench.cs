using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Files;

/// <summary>A machine whose file system is called directly, by a task that runs nothing.</summary>
internal sealed class FilesBench : IDisposable
{
    public FilesBench(params Bind[] binds)
    {
        Machine = new Machine(new MachineOptions { MemoryBytes = 256 << 20, Binds = binds, WorkingDirectory = "/", Stdin = -1, Stdout = -1, Stderr = -1 });
        var process = new Process(Machine, 2, Machine.Init);
        Task = new Task(Machine, process, 2);
        process.Threads.Add(Task);
        (Task.Files, Task.Fs) = Vfs.CreateFirst(Task);
        Task.Fs.Umask = 0x12;
    }

    public Machine Machine { get; }

    public Task Task { get; }

    public Vfs Vfs => Machine.Vfs;

    public void Dispose()
    {
        Task.Files.Release(Task);
        Task.ReleaseRegisters();
        Machine.Dispose();
    }

    public long Open(string path, int flags, out OpenFile? file, uint mode = 0x1A4) => Vfs.Open(Task, AT_FDCWD, path, flags, mode, WalkFlags.None, out file);

    /// <summary>Opens and closes: the error alone.</summary>
    public long TryOpen(string path, int flags)
    {
        long r = Open(path, flags, out OpenFile? file);
        file?.Put();
        return r;
    }

    public long Walk(string path, out Kernel.Files.Path at, bool follow = true) =>
        Vfs.Walk(Task, AT_FDCWD, path, follow ? WalkFlags.Follow : WalkFlags.None, out at);

    public WalkResult Parent(string path)
    {
        Assert.That(Vfs.WalkParent(Task, AT_FDCWD, path, out WalkResult at), Is.Zero, path);
        return at;
    }

    public long MakeDirectory(string path) => Parent(path) is var at ? at.Directory.Inode.MakeDirectory(Task, at.Directory.Dentry!, at.Last, 0x1ED) : 0;

    public long Symlink(string target, string path) => Parent(path) is var at ? at.Directory.Inode.MakeSymlink(Task, at.Directory.Dentry!, at.Last, target) : 0;

    public void WriteText(string path, string text)
    {
        Assert.That(Open(path, O_CREAT | O_WRONLY | O_TRUNC, out OpenFile? file), Is.Zero, path);
        long position = 0;
        file!.Write(Task, System.Text.Encoding.Latin1.GetBytes(text), ref position);
        file.Put();
    }

    public string ReadText(string path)
    {
        Assert.That(Open(path, O_RDONLY, out OpenFile? file), Is.Zero, path);
        byte[] buffer = new byte[65_536];
        long position = 0;
        long n = file!.Read(Task, buffer, ref position);
        file.Put();
        return System.Text.Encoding.Latin1.GetString(buffer, 0, (int)n);
    }
}

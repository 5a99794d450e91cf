using Emulator.Kernel;
using Emulator.Kernel.Files;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Tests.Files;

/// <summary>A guest reaches what it was granted and nothing else, whatever links the granted tree holds.</summary>
[Platform("Linux"), System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class HostGrantTests
{
    private string _host = "";

    [SetUp]
    public void MakeTrees()
    {
        _host = Directory.CreateTempSubdirectory("grant").FullName;
        Directory.CreateDirectory($"{_host}/granted/sub");
        Directory.CreateDirectory($"{_host}/outside");
        File.WriteAllText($"{_host}/outside/secret", "secret");
        File.WriteAllText($"{_host}/granted/file", "granted");
        File.CreateSymbolicLink($"{_host}/granted/absolute", $"{_host}/outside/secret");
        File.CreateSymbolicLink($"{_host}/granted/relative", "../outside/secret");
        File.CreateSymbolicLink($"{_host}/granted/up", "..");
        File.CreateSymbolicLink($"{_host}/granted/inner", "sub/../file");
        File.CreateSymbolicLink($"{_host}/granted/rooted", "/g/file");
        File.CreateSymbolicLink($"{_host}/granted/proc", "/proc/self/root");
        File.CreateSymbolicLink($"{_host}/granted/sub/deep", "../../../../../../../../etc/hostname");
    }

    [TearDown]
    public void RemoveTrees() => Directory.Delete(_host, recursive: true);

    private FilesBench Bench(bool readOnly = false) => new(new Bind($"{_host}/granted", "/g", readOnly));

    [TestCase("/g/absolute")]
    [TestCase("/g/relative")]
    [TestCase("/g/up/outside/secret")]
    [TestCase("/g/../outside/secret")]
    [TestCase("/g/sub/../../outside/secret")]
    [TestCase("/g/sub/deep")]
    [TestCase("/g/proc/g/../outside/secret")]
    public void No_name_leads_out(string name)
    {
        using FilesBench bench = Bench();
        Assert.That(bench.TryOpen(name, O_RDONLY), Is.EqualTo(-Errno.ENOENT));
        Assert.That(bench.Walk(name, out _), Is.EqualTo(-Errno.ENOENT));
    }

    [Test]
    public void The_links_of_proc_lead_into_the_guests_own_tree()
    {
        using FilesBench bench = Bench();
        bench.Machine.Processes.Add(bench.Task.Process);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(bench.Walk("/proc/self/root/..", out Kernel.Files.Path root), Is.Zero);
            Assert.That(bench.Vfs.PathName(root), Is.EqualTo("/"));
            Assert.That(bench.Walk($"/proc/self/root{_host}/outside/secret", out _), Is.EqualTo(-Errno.ENOENT));
            Assert.That(bench.Walk("/proc/self/cwd/g/file", out _), Is.Zero);
        }
    }

    [TestCase("/g/file")]
    [TestCase("/g/inner")]
    [TestCase("/g/rooted")]
    [TestCase("/g/up/g/file")]
    public void Names_inside_work(string name)
    {
        using FilesBench bench = Bench();
        Assert.That(bench.ReadText(name), Is.EqualTo("granted"));
    }

    [Test]
    public void A_directory_that_becomes_a_link_after_it_was_opened_leads_nowhere()
    {
        using FilesBench bench = Bench();
        Assert.That(bench.Walk("/g/sub", out Kernel.Files.Path sub), Is.Zero);
        Directory.Delete($"{_host}/granted/sub", recursive: true);
        File.CreateSymbolicLink($"{_host}/granted/sub", "../outside");
        long r = sub.Inode.Lookup(bench.Task, sub.Dentry!, "secret", out Dentry? child);
        Assert.That(r, Is.LessThan(0));
        Assert.That(child, Is.Null);
        Assert.That(sub.Inode.Create(bench.Task, sub.Dentry!, "planted", S_IFREG | 0x1A4, 0, out _), Is.LessThan(0));
        Assert.That(File.Exists($"{_host}/outside/planted"), Is.False);
    }

    [Test]
    public void A_file_that_becomes_a_link_is_not_changed_through_it()
    {
        using FilesBench bench = Bench();
        Assert.That(bench.Walk("/g/file", out Kernel.Files.Path file), Is.Zero);
        File.Delete($"{_host}/granted/file");
        File.CreateSymbolicLink($"{_host}/granted/file", "../outside/secret");
        UnixFileMode before = File.GetUnixFileMode($"{_host}/outside/secret");
        file.Inode.SetAttributes(bench.Task, file.Dentry!, new AttributeChange { Mode = 0x1FF });
        file.Inode.SetAttributes(bench.Task, file.Dentry!, new AttributeChange { Size = 0 });
        Assert.That(File.GetUnixFileMode($"{_host}/outside/secret"), Is.EqualTo(before));
        Assert.That(File.ReadAllText($"{_host}/outside/secret"), Is.EqualTo("secret"));
    }

    [Test]
    public void A_read_only_grant_refuses_every_change()
    {
        using FilesBench bench = Bench(readOnly: true);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(bench.ReadText("/g/file"), Is.EqualTo("granted"));
            Assert.That(bench.TryOpen("/g/file", O_WRONLY), Is.EqualTo(-Errno.EROFS));
            Assert.That(bench.TryOpen("/g/file", O_RDONLY | O_TRUNC), Is.EqualTo(-Errno.EROFS));
            Assert.That(bench.TryOpen("/g/new", O_CREAT | O_WRONLY), Is.EqualTo(-Errno.EROFS));
            Assert.That(bench.TryOpen("/g/sub", O_RDWR | O_TMPFILE), Is.EqualTo(-Errno.EROFS));
        }
        Assert.That(File.ReadAllText($"{_host}/granted/file"), Is.EqualTo("granted"));
    }

    [Test]
    public void Changes_reach_the_host_and_names_follow_renames()
    {
        using FilesBench bench = Bench();
        bench.WriteText("/g/sub/new", "text");
        Assert.That(File.ReadAllText($"{_host}/granted/sub/new"), Is.EqualTo("text"));
        Assert.That(bench.Open("/g/sub", O_RDONLY | O_DIRECTORY, out OpenFile? directory), Is.Zero);
        WalkResult from = bench.Parent("/g/sub");
        bench.Walk("/g/sub", out Kernel.Files.Path sub);
        Assert.That(from.Directory.Inode.Rename(bench.Task, from.Directory.Dentry!, sub.Dentry!, from.Directory.Dentry!, "moved", 0), Is.Zero);
        Assert.That(bench.Vfs.Walk(bench.Task, directory!.Path, "new", WalkFlags.Follow, out _), Is.Zero);
        Assert.That(bench.Vfs.PathName(directory.Path), Is.EqualTo("/g/moved"));
        directory.Put();
    }

    [Test]
    public void A_grant_of_one_file_shows_just_it()
    {
        using var bench = new FilesBench(new Bind($"{_host}/granted/file", "/etc/one"));
        Assert.That(bench.ReadText("/etc/one"), Is.EqualTo("granted"));
        Assert.That(bench.TryOpen("/etc/one/../secret", O_RDONLY), Is.EqualTo(-Errno.ENOTDIR));
    }

    [Test]
    public void A_grant_of_the_root_has_our_own_dev_proc_and_sys_on_top()
    {
        using var bench = new FilesBench(new Bind("/", "/"));
        foreach ((string name, string type) in (IEnumerable<(string, string)>)[("/dev", "devtmpfs"), ("/proc", "proc"), ("/sys", "sysfs"), ("/etc", "hostfs")])
        {
            Assert.That(bench.Walk(name, out Kernel.Files.Path at), Is.Zero);
            Assert.That(at.Dentry!.Filesystem.TypeName, Is.EqualTo(type), name);
        }
    }

    [Test]
    public void What_cannot_be_granted_is_said_in_one_line()
    {
        Assert.That(() => new FilesBench(new Bind($"{_host}/none", "/g")), Throws.TypeOf<MachineOptionsException>().With.Message.Contains("ENOENT"));
        Assert.That(() => new FilesBench(new Bind(_host, "/../x")), Throws.TypeOf<MachineOptionsException>());
    }
}

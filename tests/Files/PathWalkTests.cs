using Emulator.Kernel;
using Emulator.Kernel.Files;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Tests.Files;

public sealed class PathWalkTests
{
    private static FilesBench Tree()
    {
        var bench = new FilesBench();
        bench.MakeDirectory("/tmp/d");
        bench.MakeDirectory("/tmp/d/e");
        bench.WriteText("/tmp/d/f", "contents");
        bench.Symlink("d", "/tmp/l");
        bench.Symlink("/tmp/d/f", "/tmp/absolute");
        bench.Symlink("nowhere", "/tmp/dangling");
        bench.Symlink("loop2", "/tmp/loop1");
        bench.Symlink("loop1", "/tmp/loop2");
        return bench;
    }

    [TestCase("/", "/")]
    [TestCase("//", "/")]
    [TestCase("/..", "/")]
    [TestCase("/../../tmp/d", "/tmp/d")]
    [TestCase("/tmp/./d/../d/e/", "/tmp/d/e")]
    [TestCase("/tmp/l/e", "/tmp/d/e")]
    [TestCase("/tmp/l/", "/tmp/d")]
    [TestCase("/tmp/l", "/tmp/d")]
    [TestCase("/tmp/absolute", "/tmp/d/f")]
    [TestCase("tmp//d///f", "/tmp/d/f")]
    [TestCase("/dev/../tmp/d", "/tmp/d")]
    [TestCase("/dev/shm/..", "/dev")]
    public void A_name_leads_to_its_place(string name, string expected)
    {
        using FilesBench bench = Tree();
        Assert.That(bench.Walk(name, out Kernel.Files.Path at), Is.Zero);
        Assert.That(bench.Vfs.PathName(at), Is.EqualTo(expected));
    }

    [TestCase("", -Errno.ENOENT)]
    [TestCase("/tmp/none", -Errno.ENOENT)]
    [TestCase("/tmp/none/x", -Errno.ENOENT)]
    [TestCase("/tmp/d/f/", -Errno.ENOTDIR)]
    [TestCase("/tmp/d/f/x", -Errno.ENOTDIR)]
    [TestCase("/tmp/d/f/..", -Errno.ENOTDIR)]
    [TestCase("/tmp/absolute/", -Errno.ENOTDIR)]
    [TestCase("/tmp/dangling", -Errno.ENOENT)]
    [TestCase("/tmp/loop1", -Errno.ELOOP)]
    [TestCase("/tmp/loop1/x", -Errno.ELOOP)]
    public void A_name_that_leads_nowhere_says_why(string name, int expected)
    {
        using FilesBench bench = Tree();
        Assert.That(bench.Walk(name, out _), Is.EqualTo(expected));
    }

    [Test]
    public void Names_and_paths_have_the_limits_of_Linux()
    {
        using FilesBench bench = Tree();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(bench.Walk("/tmp/" + new string('n', 255), out _), Is.EqualTo(-Errno.ENOENT));
            Assert.That(bench.Walk("/tmp/" + new string('n', 256), out _), Is.EqualTo(-Errno.ENAMETOOLONG));
            Assert.That(bench.Walk(string.Concat(Enumerable.Repeat("/.", 2047)), out _), Is.Zero);
            Assert.That(bench.Walk(string.Concat(Enumerable.Repeat("/.", 2048)), out _), Is.EqualTo(-Errno.ENAMETOOLONG));
        }
    }

    [Test]
    public void Forty_links_are_followed_and_the_forty_first_is_not()
    {
        using FilesBench bench = Tree();
        bench.Symlink("d", "/tmp/c1");
        for (int i = 2; i <= 41; i++)
            bench.Symlink($"c{i - 1}", $"/tmp/c{i}");
        Assert.That(bench.Walk("/tmp/c40", out _), Is.Zero);
        Assert.That(bench.Walk("/tmp/c41", out _), Is.EqualTo(-Errno.ELOOP));
    }

    [Test]
    public void A_last_link_is_itself_unless_followed()
    {
        using FilesBench bench = Tree();
        Assert.That(bench.Walk("/tmp/dangling", out Kernel.Files.Path link, follow: false), Is.Zero);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(link.Inode.IsSymlink, Is.True);
            Assert.That(bench.TryOpen("/tmp/l", O_RDONLY | O_NOFOLLOW), Is.EqualTo(-Errno.ELOOP));
            Assert.That(bench.TryOpen("/tmp/l", O_PATH | O_NOFOLLOW), Is.Zero);
            Assert.That(bench.TryOpen("/tmp/l", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), Is.EqualTo(-Errno.ENOTDIR));
        }
    }

    [Test]
    public void Creating_through_a_dangling_link_makes_the_target_and_exclusively_refuses()
    {
        using FilesBench bench = Tree();
        Assert.That(bench.TryOpen("/tmp/dangling", O_CREAT | O_EXCL | O_WRONLY), Is.EqualTo(-Errno.EEXIST));
        Assert.That(bench.TryOpen("/tmp/dangling", O_CREAT | O_WRONLY), Is.Zero);
        Assert.That(bench.Walk("/tmp/nowhere", out _), Is.Zero);
    }

    [TestCase("/tmp/d", O_WRONLY, -Errno.EISDIR)]
    [TestCase("/tmp/d", O_CREAT, -Errno.EISDIR)]
    [TestCase("/tmp/new/", O_CREAT | O_WRONLY, -Errno.EISDIR)]
    [TestCase("/tmp/d/f", O_RDONLY | O_DIRECTORY, -Errno.ENOTDIR)]
    [TestCase("/tmp/d/f", O_CREAT | O_EXCL | O_WRONLY, -Errno.EEXIST)]
    [TestCase("/tmp/d/f/x", O_CREAT | O_WRONLY, -Errno.ENOTDIR)]
    [TestCase("/proc/none", O_RDONLY, -Errno.ENOENT)]
    public void Open_refuses_what_Linux_refuses(string name, int flags, int expected)
    {
        using FilesBench bench = Tree();
        Assert.That(bench.TryOpen(name, flags), Is.EqualTo(expected));
    }

    [Test]
    public void Openat2_scopes_keep_a_walk_inside()
    {
        using FilesBench bench = Tree();
        bench.Symlink("/d/f", "/tmp/rooted");
        bench.Walk("/tmp", out Kernel.Files.Path tmp);
        long Scoped(string name, WalkFlags flags) => bench.Vfs.Walk(bench.Task, tmp, name, flags | WalkFlags.Follow, out _);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Scoped("d/f", WalkFlags.Beneath), Is.Zero);
            Assert.That(Scoped("d/../d/f", WalkFlags.Beneath), Is.Zero);
            Assert.That(Scoped("..", WalkFlags.Beneath), Is.EqualTo(-Errno.EXDEV));
            Assert.That(Scoped("d/../../tmp/d", WalkFlags.Beneath), Is.EqualTo(-Errno.EXDEV));
            Assert.That(Scoped("absolute", WalkFlags.Beneath), Is.EqualTo(-Errno.EXDEV));
            Assert.That(Scoped("/tmp/d", WalkFlags.Beneath), Is.EqualTo(-Errno.EXDEV));
            Assert.That(Scoped("../../d/f", WalkFlags.InRoot), Is.Zero);
            Assert.That(Scoped("rooted", WalkFlags.InRoot), Is.Zero);
            Assert.That(Scoped("l/f", WalkFlags.NoSymlinks), Is.EqualTo(-Errno.ELOOP));
            Assert.That(Scoped("/dev/null", WalkFlags.NoCrossMount), Is.EqualTo(-Errno.EXDEV));
        }
    }
}

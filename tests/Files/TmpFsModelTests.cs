using Emulator.Kernel;
using Emulator.Kernel.Files;
using FsCheck;
using FsCheck.Fluent;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Tests.Files;

/// <summary>Random operations on tmpfs against a plain model: dictionaries of names, and byte arrays.</summary>
public sealed class TmpFsModelTests
{
    private static readonly string[] Names = ["a", "b", "c", "d"];

    [Test]
    public void Names_behave_as_a_tree_of_dictionaries()
    {
        Config config = Config.QuickThrowOnFailure.WithMaxTest(60).WithReplay(20_261_121, 17);
        Prop.ForAll(Gen.Choose(0, int.MaxValue).ArrayOf(120).ToArbitrary(), RunNames).Check(config);
    }

    [Test]
    public void Contents_behave_as_an_array_of_bytes()
    {
        Config config = Config.QuickThrowOnFailure.WithMaxTest(60).WithReplay(20_261_121, 19);
        Prop.ForAll(Gen.Choose(0, int.MaxValue).ArrayOf(80).ToArbitrary(), RunContents).Check(config);
    }

    private sealed class Node
    {
        public Dictionary<string, Node>? Entries { get; init; }

        public int Links { get; set; } = 1;
    }

    private static void RunNames(int[] choices)
    {
        using var bench = new FilesBench();
        bench.MakeDirectory("/tmp/m");
        var root = new Node { Entries = [], Links = 2 };
        foreach (int choice in choices)
        {
            (string path, Node? parent, string name) = Place(root, choice >> 4);
            (string otherPath, Node? otherParent, string otherName) = Place(root, choice >> 14);
            if (parent is null || otherParent is null)
                continue;
            switch (choice & 7)
            {
                case 0 or 1:
                    Assert.That(bench.TryOpen(path, O_CREAT | O_EXCL | O_WRONLY), Is.EqualTo(Add(parent, name, new Node())));
                    break;
                case 2 or 3:
                    long made = bench.Walk(path, out _, follow: false) == 0 ? -Errno.EEXIST : bench.MakeDirectory(path);
                    Assert.That(made, Is.EqualTo(Add(parent, name, new Node { Entries = [], Links = 2 })));
                    break;
                case 4:
                    Assert.That(Remove(bench, path), Is.EqualTo(ModelRemove(parent, name)), path);
                    break;
                case 5 or 6:
                    Assert.That(Rename(bench, path, otherPath, 0), Is.EqualTo(ModelRename(root, parent, name, otherParent, otherName)), $"{path} -> {otherPath}");
                    break;
                default:
                    Assert.That(Link(bench, path, otherPath), Is.EqualTo(ModelLink(parent, name, otherParent, otherName)), $"{path} => {otherPath}");
                    break;
            }
        }
        Compare(bench, "/tmp/m", root);
    }

    /// <summary>One to three components below the root; the parent is null where the model has no such directory.</summary>
    private static (string Path, Node? Parent, string Name) Place(Node root, int choice)
    {
        int depth = (choice & 3) % 3;
        string path = "/tmp/m";
        Node? at = root;
        for (int i = 0; i < depth; i++)
        {
            string component = Names[(choice >> (2 + (2 * i))) & 3];
            path += "/" + component;
            at = at?.Entries?.GetValueOrDefault(component);
        }
        string name = Names[(choice >> 8) & 3];
        return ($"{path}/{name}", at?.Entries is null ? null : at, name);
    }

    private static long Add(Node parent, string name, Node node)
    {
        if (!parent.Entries!.TryAdd(name, node))
            return -Errno.EEXIST;
        parent.Links += node.Entries is null ? 0 : 1;
        return 0;
    }

    private static long ModelRemove(Node parent, string name)
    {
        if (!parent.Entries!.TryGetValue(name, out Node? node))
            return -Errno.ENOENT;
        if (node.Entries is { Count: > 0 })
            return -Errno.ENOTEMPTY;
        parent.Entries.Remove(name);
        parent.Links -= node.Entries is null ? 0 : 1;
        node.Links--;
        return 0;
    }

    private static bool IsWithin(Node node, Node ancestor) =>
        ReferenceEquals(node, ancestor) || (ancestor.Entries?.Values.Any(n => IsWithin(node, n)) ?? false);

    private static long ModelRename(Node root, Node parent, string name, Node toParent, string toName)
    {
        _ = root;
        if (!parent.Entries!.TryGetValue(name, out Node? node))
            return -Errno.ENOENT;
        if (node.Entries is not null && IsWithin(toParent, node))
            return -Errno.EINVAL;
        if (toParent.Entries!.TryGetValue(toName, out Node? victim))
        {
            if (victim.Entries is not null && IsWithin(parent, victim))
                return -Errno.ENOTEMPTY;
            if (ReferenceEquals(victim, node))
                return 0;
            if (node.Entries is null != (victim.Entries is null))
                return victim.Entries is null ? -Errno.ENOTDIR : -Errno.EISDIR;
            if (victim.Entries is { Count: > 0 })
                return -Errno.ENOTEMPTY;
            ModelRemove(toParent, toName);
        }
        parent.Entries.Remove(name);
        parent.Links -= node.Entries is null ? 0 : 1;
        Add(toParent, toName, node);
        return 0;
    }

    private static long ModelLink(Node parent, string name, Node toParent, string toName)
    {
        if (!parent.Entries!.TryGetValue(name, out Node? node))
            return -Errno.ENOENT;
        if (toParent.Entries!.ContainsKey(toName))
            return -Errno.EEXIST;
        if (node.Entries is not null)
            return -Errno.EPERM;
        node.Links++;
        return Add(toParent, toName, node);
    }

    private static long Remove(FilesBench bench, string path)
    {
        WalkResult at = bench.Parent(path);
        long r = bench.Walk(path, out Kernel.Files.Path child, follow: false);
        if (r < 0)
            return r;
        Inode directory = at.Directory.Inode;
        return child.Inode.IsDirectory
            ? directory.RemoveDirectory(bench.Task, at.Directory.Dentry!, child.Dentry!)
            : directory.Unlink(bench.Task, at.Directory.Dentry!, child.Dentry!);
    }

    private static long Rename(FilesBench bench, string path, string to, int flags)
    {
        WalkResult from = bench.Parent(path), target = bench.Parent(to);
        long r = bench.Walk(path, out Kernel.Files.Path child, follow: false);
        return r < 0 ? r : from.Directory.Inode.Rename(bench.Task, from.Directory.Dentry!, child.Dentry!, target.Directory.Dentry!, target.Last, flags);
    }

    private static long Link(FilesBench bench, string path, string to)
    {
        WalkResult target = bench.Parent(to);
        long r = bench.Walk(path, out Kernel.Files.Path child, follow: false);
        if (r < 0)
            return r;
        if (bench.Walk(to, out _, follow: false) == 0)
            return -Errno.EEXIST;
        return child.Inode.IsDirectory ? -Errno.EPERM : target.Directory.Inode.Link(bench.Task, target.Directory.Dentry!, target.Last, child.Dentry!);
    }

    private static void Compare(FilesBench bench, string path, Node model)
    {
        Assert.That(bench.Walk(path, out Kernel.Files.Path at, follow: false), Is.Zero, path);
        at.Inode.GetAttributes(at.Dentry!, out InodeAttributes attributes);
        Assert.That(attributes.LinkCount, Is.EqualTo((uint)model.Links), path);
        Assert.That(at.Inode.IsDirectory, Is.EqualTo(model.Entries is not null), path);
        if (model.Entries is null)
            return;
        var listed = new List<DirectoryEntry>();
        at.Inode.List(bench.Task, at.Dentry!, listed);
        Assert.That(listed.Select(static e => e.Name), Is.EquivalentTo(model.Entries.Keys), path);
        foreach ((string name, Node child) in model.Entries)
            Compare(bench, $"{path}/{name}", child);
    }

    private static void RunContents(int[] choices)
    {
        using var bench = new FilesBench();
        Assert.That(bench.Open("/tmp/f", O_CREAT | O_RDWR, out OpenFile? file), Is.Zero);
        byte[] model = [];
        foreach (int choice in choices)
        {
            int offset = (choice >> 2) % 20_000, length = (choice >> 7) % 9_000;
            switch (choice & 3)
            {
                case 0:
                    byte[] data = [.. Enumerable.Range(0, length).Select(i => (byte)(choice + i))];
                    long at = offset;
                    Assert.That(file!.Write(bench.Task, data, ref at), Is.EqualTo(length));
                    if (length > 0 && model.Length < offset + length)
                        Array.Resize(ref model, offset + length);
                    data.CopyTo(model.AsSpan(Math.Min(offset, model.Length)));
                    break;
                case 1:
                    Assert.That(file!.Truncate(bench.Task, offset), Is.Zero);
                    Array.Resize(ref model, offset);
                    break;
                case 2:
                    if (length == 0)
                        break;
                    Assert.That(file!.Allocate(bench.Task, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length), Is.Zero);
                    if (offset < model.Length)
                        model.AsSpan(offset, Math.Min(length, model.Length - offset)).Clear();
                    break;
                default:
                    byte[] buffer = new byte[length];
                    long from = offset;
                    long n = file!.Read(bench.Task, buffer, ref from);
                    byte[] expected = offset >= model.Length ? [] : model.AsSpan(offset, Math.Min(length, model.Length - offset)).ToArray();
                    Assert.That(buffer.AsSpan(0, (int)n).ToArray(), Is.EqualTo(expected));
                    break;
            }
        }
        file!.GetAttributes(out InodeAttributes attributes);
        Assert.That(attributes.Size, Is.EqualTo(model.Length));
        file.Put();
    }

    [Test]
    public void Exchange_and_noreplace_keep_their_promises()
    {
        using var bench = new FilesBench();
        bench.WriteText("/tmp/a", "A");
        bench.MakeDirectory("/tmp/b");
        Assert.That(Rename(bench, "/tmp/a", "/tmp/b", RENAME_NOREPLACE), Is.EqualTo(-Errno.EEXIST));
        Assert.That(Rename(bench, "/tmp/a", "/tmp/b", RENAME_EXCHANGE), Is.Zero);
        Assert.That(bench.ReadText("/tmp/b"), Is.EqualTo("A"));
        Assert.That(Rename(bench, "/tmp/a", "/tmp/c", RENAME_EXCHANGE), Is.EqualTo(-Errno.ENOENT));
    }

    [Test]
    public void An_unlinked_file_lives_while_it_is_open_and_gives_its_frames_back()
    {
        using var bench = new FilesBench();
        long before = bench.Machine.Pages.UsedFrames;
        bench.WriteText("/tmp/f", new string('x', 50_000));
        Assert.That(bench.Open("/tmp/f", O_RDONLY, out OpenFile? file), Is.Zero);
        Assert.That(Remove(bench, "/tmp/f"), Is.Zero);
        long position = 0;
        Assert.That(file!.Read(bench.Task, new byte[10], ref position), Is.EqualTo(10));
        Assert.That(bench.Vfs.PathName(file.Path), Is.EqualTo("/tmp/f (deleted)"));
        Assert.That(bench.Machine.Pages.UsedFrames, Is.GreaterThan(before));
        file.Put();
        Assert.That(bench.Machine.Pages.UsedFrames, Is.EqualTo(before));
    }
}

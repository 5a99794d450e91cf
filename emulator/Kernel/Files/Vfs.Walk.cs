using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>How a name is walked (LOOKUP_* and RESOLVE_*).</summary>
[Flags]
internal enum WalkFlags
{
    None = 0,

    /// <summary>A symbolic link at the end is followed.</summary>
    Follow = 1,

    /// <summary>An empty name means the starting place itself (AT_EMPTY_PATH).</summary>
    AllowEmpty = 2,

    /// <summary>Stop before the last component; it need not exist.</summary>
    Parent = 4,

    NoSymlinks = 8,
    NoMagicLinks = 16,
    NoCrossMount = 32,

    /// <summary>Leaving the starting directory is an error.</summary>
    Beneath = 64,

    /// <summary>The starting directory is the root.</summary>
    InRoot = 128,
}

/// <summary>Where a walk that stops at the last component arrived.</summary>
internal struct WalkResult
{
    /// <summary>The directory of the last component.</summary>
    public Path Directory;

    /// <summary>The last component; empty when the name was all slashes.</summary>
    public string Last;

    /// <summary>The name ended in a slash.</summary>
    public bool TrailingSlash;

    /// <summary>What the name leads to, when the walk was asked to look; its Dentry is null if there is nothing.</summary>
    public Path Target;

    public readonly bool LastIsDots => Last is "." or "..";
}

/// <summary>Path walk (fs/namei.c:link_path_walk): one component at a time, every link resolved in the guest's own view.</summary>
/// <remarks>
/// In bounds: no recursion; what is left of a name grows by a symbolic link's PATH_MAX 40 times at most. The host sees plain components beneath a grant, never "..", and
/// refuses links (<see cref="Host.HostFs"/>); links of /proc lead to what the task has open already.
/// </remarks>
public sealed partial class Vfs
{
    /// <summary>MAXSYMLINKS.</summary>
    private const int MaxLinks = 40;

    /// <summary>Resolves a whole name.</summary>
    internal long Walk(Task task, int dirfd, string name, WalkFlags flags, out Path path)
    {
        path = default;
        long r = CheckEmpty(name, flags);
        if (r == 0)
            r = StartAt(task, dirfd, name, out path);
        return r < 0 || name.Length == 0 ? r : Walk(task, path, name, flags, out path);
    }

    internal long Walk(Task task, Path start, string name, WalkFlags flags, out Path path)
    {
        long r = WalkCore(task, start, name, flags, out WalkResult result);
        path = result.Target;
        return r;
    }

    /// <summary>Resolves the directory of a name that is to be made, removed or renamed.</summary>
    internal long WalkParent(Task task, int dirfd, string name, out WalkResult result)
    {
        result = default;
        long r = CheckEmpty(name, WalkFlags.None);
        if (r == 0)
            r = StartAt(task, dirfd, name, out Path start) is < 0 and var e ? e : WalkCore(task, start, name, WalkFlags.Parent, out result);
        return r;
    }

    private static long CheckEmpty(string name, WalkFlags flags)
    {
        if (name.Length == 0)
            return (flags & WalkFlags.AllowEmpty) != 0 ? 0 : -Errno.ENOENT;
        return name.Length >= PathMax ? -Errno.ENAMETOOLONG : 0;
    }

    private long WalkCore(Task task, Path start, string name, WalkFlags flags, out WalkResult result)
    {
        result = new WalkResult { Last = "" };
        bool scoped = (flags & (WalkFlags.Beneath | WalkFlags.InRoot)) != 0;
        Path root = scoped ? start : task.Fs.Root;
        if (name.StartsWith('/') && (flags & WalkFlags.Beneath) != 0)
            return -Errno.EXDEV;
        Path current = name.StartsWith('/') ? root : start;
        string rest = name;
        int at = 0, links = 0;
        while (true)
        {
            while (at < rest.Length && rest[at] == '/')
                at++;
            if (at == rest.Length)
            {
                // All slashes, or a link whose target ended the name.
                result.Directory = result.Target = current;
                return 0;
            }
            int end = rest.IndexOf('/', at);
            if (end < 0)
                end = rest.Length;
            string component = rest[at..end];
            int next = end;
            while (next < rest.Length && rest[next] == '/')
                next++;
            bool last = next == rest.Length;
            bool slash = last && next > end;
            if (!current.Inode.IsDirectory)
                return -Errno.ENOTDIR;
            long r = CheckPermission(task, current, X_OK);
            if (r < 0)
                return r;
            if (component.Length > NameMax)
                return -Errno.ENAMETOOLONG;
            at = next;
            if (last)
            {
                result.Directory = current;
                result.Last = component;
                result.TrailingSlash = slash;
                if ((flags & (WalkFlags.Parent | WalkFlags.Follow)) == WalkFlags.Parent)
                    return 0;
            }
            if (component is "." or "..")
            {
                if (component.Length == 2)
                {
                    if (current == root && (flags & WalkFlags.Beneath) != 0)
                        return -Errno.EXDEV;
                    Path up = Parent(current, root);
                    if ((flags & WalkFlags.NoCrossMount) != 0 && up.Mount != current.Mount)
                        return -Errno.EXDEV;
                    current = up;
                }
                if (!last)
                    continue;
                result.Target = current;
                return 0;
            }
            r = LookupChild(task, current, component, out Path child);
            if (r == -Errno.ENOENT && last && (flags & WalkFlags.Parent) != 0)
                return 0;
            if (r < 0)
                return r;
            if ((flags & WalkFlags.NoCrossMount) != 0 && child.Mount != current.Mount)
                return -Errno.EXDEV;
            if (!child.Inode.IsSymlink || (last && !slash && (flags & WalkFlags.Follow) == 0))
            {
                if (slash && !child.Inode.IsDirectory && (flags & WalkFlags.Parent) == 0)
                    return -Errno.ENOTDIR;
                if (last)
                {
                    result.Target = child;
                    return 0;
                }
                current = child;
                continue;
            }
            if ((flags & WalkFlags.NoSymlinks) != 0 || ++links > MaxLinks)
                return -Errno.ELOOP;
            if (child.Inode.TryFollow(task, child.Dentry!, out Path jump))
            {
                if (scoped)
                    return -Errno.EXDEV;
                if ((flags & WalkFlags.NoMagicLinks) != 0)
                    return -Errno.ELOOP;
                if (jump.Dentry is null)
                    return -Errno.ENOENT;
                if (slash && !jump.Inode.IsDirectory)
                    return -Errno.ENOTDIR;
                current = jump;
                if (!last)
                    continue;
                result.Target = current;
                return 0;
            }
            r = child.Inode.ReadLink(task, child.Dentry!, out string target);
            if (r < 0)
                return r;
            if (target.Length == 0)
                return -Errno.ENOENT;
            if (target[0] == '/')
            {
                if ((flags & WalkFlags.Beneath) != 0)
                    return -Errno.EXDEV;
                current = root;
            }
            rest = last ? (slash ? target + "/" : target) : string.Concat(target, "/", rest.AsSpan(at));
            at = 0;
        }
    }

    /// <summary>One component: a mount covers what the file system has there.</summary>
    internal long LookupChild(Task task, Path directory, string name, out Path child)
    {
        if (directory.Mount is { Children.Count: > 0 } mount && mount.Children.TryGetValue((directory.Dentry!, name), out Mount? covering))
        {
            child = new Path(covering, covering.Root);
            return 0;
        }
        long r = directory.Inode.Lookup(task, directory.Dentry!, name, out Dentry? dentry);
        child = r < 0 ? default : directory with { Dentry = dentry };
        return r;
    }

    internal static bool IsMountPoint(Path directory, string name) =>
        directory.Mount is { } mount && mount.Children.ContainsKey((directory.Dentry!, name));
}

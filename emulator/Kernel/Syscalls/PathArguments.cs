using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Names as system calls are given them.</summary>
internal static class PathArguments
{
    /// <summary>Reads a path of user memory into a byte string, one char a byte (fs/namei.c:getname).</summary>
    public static long ReadPath(this Task task, ulong address, out string name)
    {
        int r = task.ReadString(address, PathMax, out byte[] bytes);
        name = r < 0 ? "" : Encoding.Latin1.GetString(bytes);
        return r;
    }

    /// <summary>Reads a path and walks it.</summary>
    public static long Walk(this Task task, int dirfd, ulong address, WalkFlags flags, out Files.Path path)
    {
        path = default;
        // Linux takes a null path for an empty one where an empty one is allowed.
        if (address == 0 && (flags & WalkFlags.AllowEmpty) != 0)
            return task.Machine.Vfs.Walk(task, dirfd, "", flags, out path);
        long r = task.ReadPath(address, out string name);
        return r < 0 ? r : task.Machine.Vfs.Walk(task, dirfd, name, flags, out path);
    }

    /// <summary>Reads a path and walks to the directory of its last component.</summary>
    public static long WalkParent(this Task task, int dirfd, ulong address, out WalkResult result)
    {
        result = default;
        long r = task.ReadPath(address, out string name);
        return r < 0 ? r : task.Machine.Vfs.WalkParent(task, dirfd, name, out result);
    }

    /// <summary>The walk flags that AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH ask for.</summary>
    public static WalkFlags WalkFlagsOf(int atFlags) =>
        ((atFlags & AT_SYMLINK_NOFOLLOW) != 0 ? WalkFlags.None : WalkFlags.Follow) | ((atFlags & AT_EMPTY_PATH) != 0 ? WalkFlags.AllowEmpty : WalkFlags.None);
}

using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>execve and execveat.</summary>
internal static class ExecSyscalls
{
    /// <summary>MAX_ARG_STRLEN: the longest single string.</summary>
    private const int MaxString = 128 << 10;

    /// <summary>Three quarters of _STK_LIM: no stack limit allows more (fs/exec.c:bprm_stack_limits).</summary>
    private const ulong MaxTotal = 6 << 20;

    internal static readonly SyscallDefinition[] Table =
    [
        new(59, "execve", "path,argv,argv", static (Task t, in SyscallArgs a) => Execute(t, AT_FDCWD, a.A0, a.A1, a.A2, 0)),
        new(322, "execveat", "dirfd,path,argv,argv,atflags", static (Task t, in SyscallArgs a) => Execute(t, (int)a.A0, a.A1, a.A2, a.A3, (int)a.A4)),
    ];

    private static long Execute(Task t, int dirfd, ulong pathAt, ulong argvAt, ulong envpAt, int flags)
    {
        if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0)
            return -Errno.EINVAL;
        long result = t.ReadPath(pathAt, out string name);
        if (result < 0)
            return result;
        result = OpenProgram(t, dirfd, name, flags, out OpenFile? file, out string shownName);
        if (result < 0)
            return result;
        try
        {
            ulong left = Math.Min(MaxTotal, Math.Max(MaxString, t.Process.Limits[ResourceLimits.STACK].Current / 4));
            result = ReadStrings(t, argvAt, ref left, out List<byte[]> argv);
            if (result < 0)
                return result;
            result = ReadStrings(t, envpAt, ref left, out List<byte[]> envp);
            if (result < 0)
                return result;
            // A program without argv[0] would read its environment as arguments (fs/exec.c:do_execveat_common).
            if (argv.Count == 0)
                argv.Add([]);
            return Exec.Run(t, file!, Encoding.Latin1.GetBytes(shownName), argv, envp);
        }
        finally
        {
            file!.Put();
        }
    }

    private static long OpenProgram(Task t, int dirfd, string name, int flags, out OpenFile? file, out string shownName)
    {
        shownName = name;
        if (name.Length == 0 && (flags & AT_EMPTY_PATH) != 0)
        {
            file = null;
            shownName = $"/dev/fd/{dirfd}";
            using FileReference reference = t.Files.Get(dirfd);
            if (reference.File is not { } open)
                return -Errno.EBADF;
            if (open.Inode is not { IsRegular: true })
                return -Errno.EACCES;
            long denied = t.Machine.Vfs.CheckPermission(t, open.Path, X_OK);
            if (denied < 0)
                return denied;
            file = open.Get();
            return 0;
        }
        if (dirfd != AT_FDCWD && !name.StartsWith('/'))
            shownName = $"/dev/fd/{dirfd}/{name}";
        return Exec.Open(t, dirfd, name, (flags & AT_SYMLINK_NOFOLLOW) == 0, out file);
    }

    /// <summary>Reads a null-terminated array of strings; a null array counts as empty. E2BIG when they take more than is left.</summary>
    private static long ReadStrings(Task t, ulong address, ref ulong left, out List<byte[]> strings)
    {
        strings = [];
        if (address == 0)
            return 0;
        for (; ; address += 8)
        {
            if (!t.TryRead(address, out ulong at))
                return -Errno.EFAULT;
            if (at == 0)
                return 0;
            int result = t.ReadString(at, MaxString, out byte[] text);
            if (result == -Errno.ENAMETOOLONG)
                return -Errno.E2BIG;
            if (result < 0)
                return result;
            ulong cost = (ulong)text.Length + 1 + 8;
            if (cost > left)
                return -Errno.E2BIG;
            left -= cost;
            strings.Add(text);
        }
    }
}

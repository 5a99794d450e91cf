using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Who one is: processes, groups, sessions, users.</summary>
internal static class IdentitySyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(39, "getpid", "", static (Task t, in SyscallArgs _) => t.Process.Pid),
        new(186, "gettid", "", static (Task t, in SyscallArgs _) => t.Tid),
        new(110, "getppid", "", GetParent),
        new(109, "setpgid", "int,int", SetGroup),
        new(111, "getpgrp", "", static (Task t, in SyscallArgs _) => t.Process.ProcessGroup),
        new(121, "getpgid", "int", static (Task t, in SyscallArgs a) => Find(t, (int)a.A0)?.ProcessGroup ?? -Errno.ESRCH),
        new(112, "setsid", "", SetSession),
        new(124, "getsid", "int", static (Task t, in SyscallArgs a) => Find(t, (int)a.A0)?.Session ?? -Errno.ESRCH),
        new(102, "getuid", "", static (Task t, in SyscallArgs _) => t.Credentials.Uid),
        new(104, "getgid", "", static (Task t, in SyscallArgs _) => t.Credentials.Gid),
        new(107, "geteuid", "", static (Task t, in SyscallArgs _) => t.Credentials.EffectiveUid),
        new(108, "getegid", "", static (Task t, in SyscallArgs _) => t.Credentials.EffectiveGid),
        new(105, "setuid", "int", static (Task t, in SyscallArgs a) => SetUser(t, a.A0)),
        new(106, "setgid", "int", static (Task t, in SyscallArgs a) => SetUserGroup(t, a.A0)),
        new(113, "setreuid", "int,int", static (Task t, in SyscallArgs a) => SetUser(t, a.A0, a.A1)),
        new(114, "setregid", "int,int", static (Task t, in SyscallArgs a) => SetUserGroup(t, a.A0, a.A1)),
        new(117, "setresuid", "int,int,int", static (Task t, in SyscallArgs a) => SetUser(t, a.A0, a.A1, a.A2)),
        new(119, "setresgid", "int,int,int", static (Task t, in SyscallArgs a) => SetUserGroup(t, a.A0, a.A1, a.A2)),
        new(118, "getresuid", "out:ptr,out:ptr,out:ptr", static (Task t, in SyscallArgs a) => Write3(t, a, t.Credentials.Uid, t.Credentials.EffectiveUid, t.Credentials.SavedUid)),
        new(120, "getresgid", "out:ptr,out:ptr,out:ptr", static (Task t, in SyscallArgs a) => Write3(t, a, t.Credentials.Gid, t.Credentials.EffectiveGid, t.Credentials.SavedGid)),
        new(122, "setfsuid", "int", static (Task t, in SyscallArgs _) => t.Credentials.EffectiveUid),
        new(123, "setfsgid", "int", static (Task t, in SyscallArgs _) => t.Credentials.EffectiveGid),
        new(115, "getgroups", "int,out:ptr", GetGroups),
        new(116, "setgroups", "int,ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(125, "capget", "ptr,out:ptr", CapGet),
        new(126, "capset", "ptr,ptr", CapSet),
    ];

    private static Process? Find(Task t, int pid) => pid == 0 ? t.Process : t.Machine.Processes.FindProcess(pid) ?? t.Machine.Processes.FindTask(pid)?.Process;

    private static long GetParent(Task t, in SyscallArgs a)
    {
        lock (t.Machine.Processes.Lock)
            return t.Process.Parent?.Pid ?? 0;
    }

    private static long SetGroup(Task t, in SyscallArgs a)
    {
        int pid = (int)a.A0 == 0 ? t.Process.Pid : (int)a.A0;
        int group = (int)a.A1 == 0 ? pid : (int)a.A1;
        if (group < 0)
            return -Errno.EINVAL;
        ProcessTable table = t.Machine.Processes;
        lock (table.Lock)
        {
            Process? target = table.FindProcess(pid);
            if (target is null || (target != t.Process && target.Parent != t.Process))
                return -Errno.ESRCH;
            if (target != t.Process)
            {
                if (target.Session != t.Process.Session)
                    return -Errno.EPERM;
                if (target.HasExeced)
                    return -Errno.EACCES;
            }
            if (target.IsSessionLeader)
                return -Errno.EPERM;
            if (group != pid && !table.InGroup(group).Any(p => p.Session == t.Process.Session))
                return -Errno.EPERM;
            target.ProcessGroup = group;
            return 0;
        }
    }

    private static long SetSession(Task t, in SyscallArgs a)
    {
        ProcessTable table = t.Machine.Processes;
        Process process = t.Process;
        lock (table.Lock)
        {
            if (process.IsSessionLeader || table.InGroup(process.Pid).Length != 0)
                return -Errno.EPERM;
            process.Session = process.Pid;
            process.ProcessGroup = process.Pid;
        }
        return process.Pid;
    }

    /// <summary>Without privilege each id may become any of the three that the process has; -1 leaves it alone.</summary>
    private static bool Allowed(ulong wanted, uint real, uint effective, uint saved) =>
        (uint)wanted == uint.MaxValue || (uint)wanted == real || (uint)wanted == effective || (uint)wanted == saved;

    private static uint Pick(ulong wanted, uint old) => (uint)wanted == uint.MaxValue ? old : (uint)wanted;

    private static long SetUser(Task t, ulong id)
    {
        Credentials c = t.Credentials;
        if ((uint)id == uint.MaxValue)
            return -Errno.EINVAL;
        if ((uint)id != c.Uid && (uint)id != c.SavedUid)
            return -Errno.EPERM;
        t.Credentials = c with { EffectiveUid = (uint)id };
        return 0;
    }

    private static long SetUser(Task t, ulong real, ulong effective, ulong saved = uint.MaxValue)
    {
        Credentials c = t.Credentials;
        if (!Allowed(real, c.Uid, c.EffectiveUid, c.SavedUid) || !Allowed(effective, c.Uid, c.EffectiveUid, c.SavedUid) || !Allowed(saved, c.Uid, c.EffectiveUid, c.SavedUid))
            return -Errno.EPERM;
        t.Credentials = c with { Uid = Pick(real, c.Uid), EffectiveUid = Pick(effective, c.EffectiveUid), SavedUid = Pick(saved, c.SavedUid) };
        return 0;
    }

    private static long SetUserGroup(Task t, ulong id)
    {
        Credentials c = t.Credentials;
        if ((uint)id == uint.MaxValue)
            return -Errno.EINVAL;
        if ((uint)id != c.Gid && (uint)id != c.SavedGid)
            return -Errno.EPERM;
        t.Credentials = c with { EffectiveGid = (uint)id };
        return 0;
    }

    private static long SetUserGroup(Task t, ulong real, ulong effective, ulong saved = uint.MaxValue)
    {
        Credentials c = t.Credentials;
        if (!Allowed(real, c.Gid, c.EffectiveGid, c.SavedGid) || !Allowed(effective, c.Gid, c.EffectiveGid, c.SavedGid) || !Allowed(saved, c.Gid, c.EffectiveGid, c.SavedGid))
            return -Errno.EPERM;
        t.Credentials = c with { Gid = Pick(real, c.Gid), EffectiveGid = Pick(effective, c.EffectiveGid), SavedGid = Pick(saved, c.SavedGid) };
        return 0;
    }

    private static long Write3(Task t, in SyscallArgs a, uint x, uint y, uint z) =>
        t.TryWrite(a.A0, x) && t.TryWrite(a.A1, y) && t.TryWrite(a.A2, z) ? 0 : -Errno.EFAULT;

    private static long GetGroups(Task t, in SyscallArgs a)
    {
        IReadOnlyList<uint> groups = t.Credentials.Groups;
        int size = (int)a.A0;
        if (size < 0)
            return -Errno.EINVAL;
        if (size == 0)
            return groups.Count;
        if (size < groups.Count)
            return -Errno.EINVAL;
        for (int i = 0; i < groups.Count; i++)
            if (!t.TryWrite(a.A1 + (ulong)i * 4, groups[i]))
                return -Errno.EFAULT;
        return groups.Count;
    }

    private const uint CapabilityVersion1 = 0x19980330, CapabilityVersion2 = 0x20071026, CapabilityVersion3 = 0x20080522;

    /// <summary>Nobody here has a capability.</summary>
    private static long CapGet(Task t, in SyscallArgs a)
    {
        if (!t.TryRead(a.A0, out uint version) || !t.TryRead(a.A0 + 4, out int pid))
            return -Errno.EFAULT;
        int words = version switch { CapabilityVersion1 => 3, CapabilityVersion2 or CapabilityVersion3 => 6, _ => 0 };
        if (words == 0)
            return !t.TryWrite(a.A0, CapabilityVersion3) ? -Errno.EFAULT : a.A1 == 0 ? 0 : -Errno.EINVAL;
        if (pid < 0)
            return -Errno.EINVAL;
        if (Find(t, pid) is null)
            return -Errno.ESRCH;
        for (int i = 0; a.A1 != 0 && i < words; i++)
            if (!t.TryWrite(a.A1 + (ulong)i * 4, 0u))
                return -Errno.EFAULT;
        return 0;
    }

    private static long CapSet(Task t, in SyscallArgs a)
    {
        if (!t.TryRead(a.A0, out uint version))
            return -Errno.EFAULT;
        int words = version switch { CapabilityVersion1 => 3, CapabilityVersion2 or CapabilityVersion3 => 6, _ => 0 };
        if (words == 0)
            return -Errno.EINVAL;
        for (int i = 0; i < words; i++)
        {
            if (!t.TryRead(a.A1 + (ulong)i * 4, out uint set))
                return -Errno.EFAULT;
            if (set != 0)
                return -Errno.EPERM;
        }
        return 0;
    }
}

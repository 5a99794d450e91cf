using System.Text;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>The machine as a whole, and what a task may set of itself: uname, sysinfo, prctl, arch_prctl and what is refused.</summary>
internal static unsafe class SystemSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(63, "uname", "out:ptr", Uname),
        new(99, "sysinfo", "out:ptr", SysInfo),
        new(135, "personality", "hex", SetPersonality),
        new(157, "prctl", "prctl,hex,hex,hex,hex", PrCtl),
        new(158, "arch_prctl", "archprctl,ptr", ArchPrCtl),
        new(324, "membarrier", "int,uint,int", MemBarrier),
        new(101, "ptrace", "int,int,ptr,ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(317, "seccomp", "uint,uint,ptr", static (Task _, in SyscallArgs _) => -Errno.EINVAL),
        new(334, "rseq", "ptr,uint,int,uint", static (Task _, in SyscallArgs _) => -Errno.ENOSYS),
        new(103, "syslog", "int,ptr,int", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(154, "modify_ldt", "int,ptr,size", static (Task _, in SyscallArgs _) => -Errno.ENOSYS),
        new(169, "reboot", "hex,hex,hex,ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(170, "sethostname", "ptr,size", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(171, "setdomainname", "ptr,size", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(172, "iopl", "int", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(173, "ioperm", "hex,hex,int", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(298, "perf_event_open", "ptr,int,int,int,hex", static (Task _, in SyscallArgs _) => -Errno.EACCES),
        new(321, "bpf", "int,ptr,size", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(159, "adjtimex", "ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(305, "clock_adjtime", "clockid,ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(163, "acct", "path", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(153, "vhangup", "", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(167, "swapon", "path,hex", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(168, "swapoff", "path", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(175, "init_module", "ptr,size,ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(176, "delete_module", "ptr,hex", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(313, "finit_module", "fd,ptr,hex", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(246, "kexec_load", "hex,hex,ptr,hex", static (Task _, in SyscallArgs _) => -Errno.EPERM),
    ];

    private const int UtsField = 65;
    private const uint PER_LINUX32 = 8, PersonalityMask = 0xFF;

    private static long Uname(Task t, in SyscallArgs a)
    {
        Span<byte> uts = stackalloc byte[UtsField * 6];
        uts.Clear();
        // override_architecture: a program that wants to be taken for a 32-bit one (linux32) sees such a machine.
        string hardware = (t.Process.Personality & PersonalityMask) == PER_LINUX32 ? "i686" : Machine.HardwareName;
        ReadOnlySpan<string> fields = [Machine.SystemName, Machine.HostName, t.Machine.Release, Machine.Version, hardware, "(none)"];
        for (int i = 0; i < fields.Length; i++)
            Encoding.ASCII.GetBytes(fields[i], uts[(i * UtsField)..]);
        return t.CopyToUser(a.A0, uts) ? 0 : -Errno.EFAULT;
    }

    /// <summary>struct sysinfo: 112 bytes, of which the loads, swap and high memory stay zero.</summary>
    private static long SysInfo(Task t, in SyscallArgs a)
    {
        const int Uptime = 0, TotalRam = 4, FreeRam = 5, TotalSwap = 8, FreeSwap = 9, Processes = 10, Unit = 13, Words = 14;
        Span<ulong> info = stackalloc ulong[Words];
        info.Clear();
        info[Uptime] = (ulong)(t.Machine.Clock.MonotonicNs / Clock.Second);
        info[TotalRam] = t.Machine.Options.MemoryBytes;
        info[FreeRam] = t.Machine.FreeMemoryBytes;
        info[TotalSwap] = t.Machine.MemorySystem.Swap.TotalSlots << 12;
        info[FreeSwap] = (ulong)t.Machine.MemorySystem.Swap.FreeSlots << 12;
        info[Processes] = (ulong)Math.Min(t.Machine.Processes.TaskCount, ushort.MaxValue);
        info[Unit] = 1;
        return t.CopyToUser(a.A0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(info)) ? 0 : -Errno.EFAULT;
    }

    private static long SetPersonality(Task t, in SyscallArgs a)
    {
        uint old = t.Process.Personality;
        if ((uint)a.A0 != uint.MaxValue)
            t.Process.Personality = (uint)a.A0;
        return old;
    }

    private static long ArchPrCtl(Task t, in SyscallArgs a)
    {
        const int SetGs = 0x1001, SetFs = 0x1002, GetFs = 0x1003, GetGs = 0x1004, GetCpuid = 0x1011, SetCpuid = 0x1012;
        switch ((int)a.A0)
        {
            case SetFs when a.A1 < Layout.TaskSize:
                t.Registers->SetFsBase(a.A1);
                return 0;
            case SetGs when a.A1 < Layout.TaskSize:
                t.Registers->SetGsBase(a.A1);
                return 0;
            case SetFs or SetGs:
                return -Errno.EPERM;
            case GetFs:
                return t.TryWrite(a.A1, t.Registers->FsBase) ? 0 : -Errno.EFAULT;
            case GetGs:
                return t.TryWrite(a.A1, t.Registers->GsBase) ? 0 : -Errno.EFAULT;
            case GetCpuid:
                return 1;
            case SetCpuid:
                return -Errno.ENODEV;
            default:
                return -Errno.EINVAL;
        }
    }

    private static long PrCtl(Task t, in SyscallArgs a)
    {
        const int SetDeathSignal = 1, GetDeathSignal = 2, GetDumpable = 3, SetDumpable = 4, GetKeepCaps = 7, SetKeepCaps = 8, GetTiming = 13, SetTiming = 14,
            SetName = 15, GetName = 16, GetSeccomp = 21, SetSeccomp = 22, CapBsetRead = 23, CapBsetDrop = 24, GetTsc = 25, GetSecureBits = 27,
            SetTimerSlack = 29, GetTimerSlack = 30, SetMm = 35, SetSubreaper = 36, GetSubreaper = 37, SetNoNewPrivileges = 38, GetNoNewPrivileges = 39,
            GetTidAddress = 40, SetThpDisable = 41, GetThpDisable = 42, CapAmbient = 47, SetVma = 0x53564D41, EmulatorMeasure = 0x454D5500;
        const int LastCapability = 40;
        Process p = t.Process;
        switch ((int)a.A0)
        {
            case EmulatorMeasure:
                return (a.A1 != 0 ? t.Machine.Parts.Begin() : t.Machine.Parts.End()) ? 0 : -Errno.EBUSY;
            case SetDeathSignal:
                if (a.A1 > Signal.Count)
                    return -Errno.EINVAL;
                p.ParentDeathSignal = (int)a.A1;
                return 0;
            case GetDeathSignal:
                return t.TryWrite(a.A1, p.ParentDeathSignal) ? 0 : -Errno.EFAULT;
            case GetDumpable:
                return p.Dumpable;
            case SetDumpable:
                if (a.A1 > 1)
                    return -Errno.EINVAL;
                p.Dumpable = (int)a.A1;
                return 0;
            case GetKeepCaps or GetTiming or GetSeccomp or GetSecureBits:
                return 0;
            case SetKeepCaps:
                return a.A1 > 1 ? -Errno.EINVAL : 0;
            case SetTiming:
                return a.A1 == 0 ? 0 : -Errno.EINVAL;
            case SetName:
                return SetThreadName(t, a.A1);
            case GetName:
                Span<byte> comm = stackalloc byte[Task.CommMaximum + 1];
                comm.Clear();
                Encoding.Latin1.GetBytes(t.Comm, comm);
                return t.CopyToUser(a.A1, comm) ? 0 : -Errno.EFAULT;
            case SetSeccomp:
                return -Errno.EINVAL;
            case CapBsetRead:
                return a.A1 > LastCapability ? -Errno.EINVAL : 1;
            case CapBsetDrop:
                return -Errno.EPERM;
            case GetTsc:
                return t.TryWrite(a.A1, 1) ? 0 : -Errno.EFAULT;
            case SetTimerSlack:
                t.TimerSlackNs = (long)a.A1 <= 0 ? Task.DefaultTimerSlackNs : (long)a.A1;
                return 0;
            case GetTimerSlack:
                return t.TimerSlackNs;
            case SetMm:
                return -Errno.EPERM;
            case SetSubreaper:
                p.IsChildSubreaper = a.A1 != 0;
                return 0;
            case GetSubreaper:
                return t.TryWrite(a.A1, p.IsChildSubreaper ? 1 : 0) ? 0 : -Errno.EFAULT;
            case SetNoNewPrivileges:
                if (a.A1 != 1 || a.A2 != 0 || a.A3 != 0 || a.A4 != 0)
                    return -Errno.EINVAL;
                t.NoNewPrivileges = true;
                return 0;
            case GetNoNewPrivileges:
                return (a.A1 | a.A2 | a.A3 | a.A4) != 0 ? -Errno.EINVAL : t.NoNewPrivileges ? 1 : 0;
            case GetTidAddress:
                return t.TryWrite(a.A1, t.ClearChildTid) ? 0 : -Errno.EFAULT;
            case SetThpDisable:
                if ((a.A2 | a.A3 | a.A4) != 0)
                    return -Errno.EINVAL;
                t.Mm.HugePagesDisabled = a.A1 != 0;
                return 0;
            case GetThpDisable:
                return (a.A1 | a.A2 | a.A3 | a.A4) != 0 ? -Errno.EINVAL : t.Mm.HugePagesDisabled ? 1 : 0;
            case CapAmbient:
                return a.A1 == 1 ? 0 : a.A1 == 4 ? 0 : -Errno.EPERM;
            case SetVma:
                return a.A1 == 0 ? 0 : -Errno.EINVAL;
            default:
                return -Errno.EINVAL;
        }
    }

    /// <summary>Longer names are cut, not refused (strncpy_from_user).</summary>
    private static long SetThreadName(Task t, ulong address)
    {
        Span<byte> name = stackalloc byte[Task.CommMaximum];
        int length = 0;
        for (; length < name.Length; length++)
        {
            if (!t.TryRead(address + (ulong)length, out byte b))
                return -Errno.EFAULT;
            if (b == 0)
                break;
            name[length] = b;
        }
        t.SetComm(name[..length]);
        return 0;
    }

    private static long MemBarrier(Task t, in SyscallArgs a)
    {
        const int Query = 0, Global = 1, GlobalExpedited = 2, RegisterGlobalExpedited = 4, PrivateExpedited = 8, RegisterPrivateExpedited = 16,
            PrivateExpeditedSyncCore = 32, RegisterPrivateExpeditedSyncCore = 64;
        if (a.A1 != 0)
            return -Errno.EINVAL;
        switch ((int)a.A0)
        {
            case Query:
                return Global | GlobalExpedited | RegisterGlobalExpedited | PrivateExpedited | RegisterPrivateExpedited
                    | PrivateExpeditedSyncCore | RegisterPrivateExpeditedSyncCore;
            case RegisterGlobalExpedited or RegisterPrivateExpedited or RegisterPrivateExpeditedSyncCore:
                return 0;
            case Global or GlobalExpedited or PrivateExpedited or PrivateExpeditedSyncCore:
                t.Machine.BarrierOnAllVcpus(t);
                return 0;
            default:
                return -Errno.EINVAL;
        }
    }
}

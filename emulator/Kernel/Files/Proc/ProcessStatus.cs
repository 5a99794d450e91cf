using System.Globalization;
using System.Text;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files.Proc;

/// <summary>The figures of /proc/PID/stat, statm and status.</summary>
internal sealed class ProcessStatus(Process process, Task? thread)
{
    private static readonly CultureInfo Invariant = CultureInfo.InvariantCulture;

    /// <summary>USER_HZ is 100.</summary>
    private const long TickNs = 10_000_000;

    private Mm? Mm => thread?.Mm;

    /// <summary>Process 1 is the kernel's own and has no thread.</summary>
    private bool IsInit => ReferenceEquals(process, process.Machine.Init);

    private string Name => IsInit ? "init" : thread?.Comm ?? "";

    private char State => IsInit ? 'S' : process.IsZombie || thread is null ? 'Z' : process.IsStopped ? 'T' : thread.Vcpu is not null ? 'R' : 'S';

    private int ThreadCount
    {
        get
        {
            lock (process.SignalLock)
                return process.Threads.Count;
        }
    }

    public string Stat()
    {
        Machine machine = process.Machine;
        JobControl terminal = machine.Vfs.Terminal;
        bool hasTerminal = terminal.Session != 0 && terminal.Session == process.Session;
        long start = process.StartNs / TickNs;
        var text = new StringBuilder();
        text.Append(Invariant, $"{thread?.Tid ?? process.Pid} ({Name}) {State} {process.Parent?.Pid ?? 0} {process.ProcessGroup} {process.Session} ");
        text.Append(Invariant, $"{(hasTerminal ? 34816 : 0)} {(hasTerminal ? terminal.ForegroundGroup : -1)} 4194304 ");
        TaskUsage usage = process.Usage, children = process.ChildrenUsage;
        text.Append(Invariant, $"{usage.MinorFaults} {children.MinorFaults} {usage.MajorFaults} {children.MajorFaults} ");
        text.Append(Invariant, $"{usage.UserNs / TickNs} {usage.SystemNs / TickNs} {children.UserNs / TickNs} {children.SystemNs / TickNs} ");
        int nice = thread?.Scheduling.Nice ?? 0;
        text.Append(Invariant, $"{20 + nice} {nice} {Math.Max(1, ThreadCount)} 0 {start} {(Mm?.TotalPages ?? 0) << 12} {Mm?.ResidentPages ?? 0} {ulong.MaxValue} ");
        text.Append(Invariant, $"{Mm?.StartCode ?? 0} {Mm?.EndCode ?? 0} {Mm?.StartStack ?? 0} 0 0 {thread?.Pending.Mask ?? 0} {thread?.Blocked ?? 0} 0 0 0 0 0 17 ");
        text.Append(Invariant, $"{thread?.Vcpu?.Id ?? 0} 0 0 0 0 0 {Mm?.StartData ?? 0} {Mm?.EndData ?? 0} {Mm?.StartBrk ?? 0} ");
        text.Append(Invariant, $"{Mm?.ArgStart ?? 0} {Mm?.ArgEnd ?? 0} {Mm?.EnvStart ?? 0} {Mm?.EnvEnd ?? 0} 0\n");
        return text.ToString();
    }

    public string MemoryStat()
    {
        if (Mm is not { } mm)
            return "0 0 0 0 0 0 0\n";
        return string.Create(Invariant, $"{mm.TotalPages} {mm.ResidentPages} {mm.FilePages + mm.ShmemPages} {mm.ExecPages} 0 {mm.DataPages + mm.StackPages} 0\n");
    }

    public string Status()
    {
        var text = new StringBuilder();
        string state = State switch { 'R' => "R (running)", 'S' => "S (sleeping)", 'T' => "T (stopped)", _ => "Z (zombie)" };
        Credentials c = thread?.Credentials ?? new Credentials(Credentials.UserId, Credentials.GroupId);
        text.Append(Invariant, $"Name:\t{Name}\n");
        text.Append(Invariant, $"Umask:\t{Convert.ToString(thread?.Fs?.Umask ?? 0, 8).PadLeft(4, '0')}\n");
        text.Append(Invariant, $"State:\t{state}\nTgid:\t{process.Pid}\nNgid:\t0\nPid:\t{thread?.Tid ?? process.Pid}\nPPid:\t{process.Parent?.Pid ?? 0}\nTracerPid:\t0\n");
        text.Append(Invariant, $"Uid:\t{c.Uid}\t{c.EffectiveUid}\t{c.SavedUid}\t{c.EffectiveUid}\n");
        text.Append(Invariant, $"Gid:\t{c.Gid}\t{c.EffectiveGid}\t{c.SavedGid}\t{c.EffectiveGid}\n");
        text.Append(Invariant, $"FDSize:\t64\nGroups:\t{string.Join(' ', c.Groups)} \n");
        if (Mm is { } mm)
        {
            text.Append(Invariant, $"VmPeak:\t{mm.PeakPages * 4,8} kB\nVmSize:\t{mm.TotalPages * 4,8} kB\nVmLck:\t{mm.LockedPages * 4,8} kB\nVmPin:\t       0 kB\n");
            text.Append(Invariant, $"VmHWM:\t{mm.PeakResidentPages * 4,8} kB\nVmRSS:\t{mm.ResidentPages * 4,8} kB\nRssAnon:\t{mm.AnonPages * 4,8} kB\n");
            text.Append(Invariant, $"RssFile:\t{mm.FilePages * 4,8} kB\nRssShmem:\t{mm.ShmemPages * 4,8} kB\nVmData:\t{mm.DataPages * 4,8} kB\nVmStk:\t{mm.StackPages * 4,8} kB\n");
            text.Append(Invariant, $"VmExe:\t{(mm.EndCode - mm.StartCode) >> 10,8} kB\nVmLib:\t{mm.ExecPages * 4,8} kB\nVmPTE:\t{mm.TableBytes >> 10,8} kB\nVmSwap:\t{mm.SwapEntries * 4,8} kB\n");
            text.Append(Invariant, $"HugetlbPages:\t{mm.HugeTlbPages * 4,8} kB\nCoreDumping:\t0\nTHP_enabled:\t{(mm.HugePagesDisabled ? 0 : 1)}\n");
        }
        text.Append(Invariant, $"Threads:\t{Math.Max(1, ThreadCount)}\nSigQ:\t{process.Pending.Count}/63000\n");
        text.Append(Invariant, $"SigPnd:\t{thread?.Pending.Mask ?? 0:x16}\nShdPnd:\t{process.Pending.Mask:x16}\nSigBlk:\t{thread?.Blocked ?? 0:x16}\n");
        text.Append("CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n");
        text.Append(Invariant, $"NoNewPrivs:\t{(thread?.NoNewPrivileges == true ? 1 : 0)}\nSeccomp:\t0\n");
        int cpus = process.Machine.Options.Vcpus;
        text.Append(Invariant, $"Cpus_allowed_list:\t{(cpus == 1 ? "0" : $"0-{cpus - 1}")}\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{thread?.Scheduling.VoluntarySwitches ?? 0}\nnonvoluntary_ctxt_switches:\t{thread?.Scheduling.InvoluntarySwitches ?? 0}\n");
        return text.ToString();
    }
}

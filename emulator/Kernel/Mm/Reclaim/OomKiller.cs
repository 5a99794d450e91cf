using System.Globalization;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tracing;

namespace Emulator.Kernel.Memory;

/// <summary>What the OOM killer knows of an address space's process (struct signal_struct, oom_*).</summary>
public sealed class OomState
{
    public const int ScoreAdjMin = -1000, ScoreAdjMax = 1000;

    /// <summary>/proc/PID/oom_score_adj: -1000 (never kill) to 1000.</summary>
    public int ScoreAdj { get; internal set; }

    /// <summary>What a process without privileges may not go below.</summary>
    public int ScoreAdjMinimum { get; internal set; }

    /// <summary>Chosen; it has the run of memory until it is gone (tsk_is_oom_victim).</summary>
    internal bool IsVictim { get; private set; }

    /// <summary>Frames in use when it was chosen: what it had is gone before anybody reports its death.</summary>
    internal long UsedFrames { get; private set; }

    internal void Choose(PageAllocator pages)
    {
        if (!IsVictim)
            UsedFrames = pages.UsedFrames;
        IsVictim = true;
    }

    /// <summary>The address space that the process had when it became a victim of others' need.</summary>
    internal Mm? VictimMm { get; set; }

    internal OomState Clone() => new() { ScoreAdj = ScoreAdj, ScoreAdjMinimum = ScoreAdjMinimum };
}

/// <summary>
/// Chooses a process to kill when memory is exhausted and nothing can be reclaimed, says why, and takes the victim's private memory away
/// before it has had time to exit (mm/oom_kill.c).
/// </summary>
internal sealed class OomKiller(Machine machine)
{
    /// <summary>oom_badness of a process that is not to be killed.</summary>
    public const long Unkillable = long.MinValue;

    private static readonly CultureInfo Invariant = CultureInfo.InvariantCulture;
    private int _running;

    private VmEvents Events => machine.MemorySystem.Events;

    private KernelLog Log => machine.KernelLog;

    /// <summary>Memory and swap, in pages: what a score is a share of.</summary>
    private long TotalPages => (long)(machine.Memory.FrameCount + machine.MemorySystem.Swap.TotalSlots);

    /// <summary>How much killing a process would give, in pages, moved by its oom_score_adj (oom_badness).</summary>
    public long Badness(Process process)
    {
        OomState oom = process.Oom;
        if (ReferenceEquals(process, machine.Init) || oom.ScoreAdj == OomState.ScoreAdjMin || FindWithMm(process) is not { } task)
            return Unkillable;
        if (task.Mm is not { } mm || mm.OomSkip || task.Vfork is not null)
            return Unkillable;
        return mm.ResidentPages + mm.SwapEntries + (mm.TableBytes >> 12) + mm.OwnedPages + oom.ScoreAdj * (TotalPages / 1000);
    }

    /// <summary>/proc/PID/oom_score: the badness as 0 to 2000 (fs/proc/base.c:proc_oom_score).</summary>
    public long Score(Process process)
    {
        long badness = Badness(process);
        return badness == Unkillable ? 0 : (1000 + badness * 1000 / TotalPages) * 2 / 3;
    }

    /// <summary>Makes room by killing somebody (out_of_memory).</summary>
    /// <param name="task">Who needs memory.</param>
    /// <returns>Whether the caller may hope: false when it is the caller itself that dies, or nobody can be killed.</returns>
    public bool Kill(Task task)
    {
        // One at a time; those who come too late look for memory again (mutex_trylock(&oom_lock)).
        if (Interlocked.CompareExchange(ref _running, 1, 0) != 0)
            return !task.MustExit;
        try
        {
            return KillSomebody(task);
        }
        finally
        {
            Volatile.Write(ref _running, 0);
        }
    }

    private bool KillSomebody(Task task)
    {
        if (task.MustExit)
        {
            task.Process.Oom.Choose(machine.Pages);
            return false;
        }
        VmSysctls sysctls = machine.MemorySystem.Sysctls;
        if (sysctls.PanicOnOom != 0)
        {
            DumpHeader(task);
            return Panic("Out of memory: system-wide panic_on_oom is enabled");
        }
        Process? victim = task.Process;
        if ((sysctls.OomKillAllocatingTask == 0 || Badness(victim) == Unkillable) && !Select(out victim))
            return true; // The last victim is still on its way out.
        DumpHeader(task);
        if (victim is null)
        {
            Log.Write("Out of memory and no killable processes...");
            return Panic("System is deadlocked on memory");
        }
        KillProcess(task, victim);
        return victim != task.Process;
    }

    private bool Panic(string why)
    {
        Log.Write($"Kernel panic - not syncing: {why}");
        machine.StopFor(ExitReason.Stopped, $"kernel panic - not syncing: {why}");
        return false;
    }

    /// <summary>select_bad_process: the highest badness, the later one of equals. False: a victim has yet to give its memory back.</summary>
    private bool Select(out Process? chosen)
    {
        chosen = null;
        long best = long.MinValue;
        foreach (Process process in machine.Processes.Snapshot())
        {
            if (ReferenceEquals(process, machine.Init))
                continue;
            // Its address space is on its way out, whoever is the last to use it, when the process has none any more (signal->oom_mm).
            if (process.Oom.IsVictim)
            {
                if (process.Oom.VictimMm is not { OomSkip: false })
                    continue;
                return false;
            }
            if (process.IsZombie)
                continue;
            long points = Badness(process);
            if (points == Unkillable || points < best)
                continue;
            best = points;
            chosen = process;
        }
        return true;
    }

    private void KillProcess(Task task, Process victim)
    {
        if (FindWithMm(victim) is not { Mm: { } mm } main)
            return;
        Log.Write(string.Create(Invariant,
            $"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task={main.Comm},pid={victim.Pid},uid={main.Credentials.Uid}"));
        Events.Count(VmEvent.OomKill);
        victim.Oom.VictimMm = mm;
        victim.Oom.Choose(machine.Pages);
        mm.IsOomVictim = true;
        Log.Write(string.Create(Invariant,
            $"Out of memory: Killed process {victim.Pid} ({main.Comm}) total-vm:{mm.TotalPages * 4}kB, anon-rss:{mm.AnonPages * 4}kB, file-rss:{mm.FilePages * 4}kB, shmem-rss:{mm.ShmemPages * 4}kB, UID:{main.Credentials.Uid} pgtables:{mm.TableBytes >> 10}kB oom_score_adj:{victim.Oom.ScoreAdj}"));
        victim.Send(new SignalInfo(Signal.SIGKILL, SignalInfo.SI_KERNEL));
        // Others with the same memory must go as well, or it would stay.
        foreach (Process process in machine.Processes.Snapshot())
        {
            if (process != victim && !ReferenceEquals(process, machine.Init) && FindWithMm(process)?.Mm == mm)
                process.Send(new SignalInfo(Signal.SIGKILL, SignalInfo.SI_KERNEL));
        }
        // Not as one of its users, whose last one tears it down: whoever needs memory may hold another's mmap lock (mmgrab in __oom_kill_process).
        if (mm.TryGetContext())
        {
            if (victim != task.Process)
                Reap(task, victim.Pid, main.Comm, mm);
            // Shared regions would outlive their owner. What cannot go now goes when it exits, which is worth waiting for.
            if (!mm.TryUnmapOwnedRegions(task))
                mm.OomSkip = false;
            mm.PutContext();
        }
    }

    /// <summary>oom_reap_task: takes the victim's private memory while it is still on its way out.</summary>
    private void Reap(Task task, int pid, string name, Mm mm)
    {
        if (mm.ReapByOom(task))
        {
            Log.Write(string.Create(Invariant,
                $"oom_reaper: reaped process {pid} ({name}), now anon-rss:{mm.AnonPages * 4}kB, file-rss:{mm.FilePages * 4}kB, shmem-rss:{mm.ShmemPages * 4}kB"));
        }
    }

    /// <summary>dump_header and dump_tasks.</summary>
    private void DumpHeader(Task task)
    {
        Log.Write(string.Create(Invariant,
            $"{task.Comm} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj={task.Process.Oom.ScoreAdj}"));
        MemorySystem memory = machine.MemorySystem;
        Log.Write(string.Create(Invariant,
            $"free:{memory.Pages.FreeFrames} pagetables:{memory.Pages.TableFrames} swapcache:{memory.Swap.CachedPages} free_swap:{memory.Swap.FreeSlots * 4}kB total_swap:{memory.Swap.TotalSlots * 4}kB {machine.Memory.FrameCount} pages RAM"));
        if (memory.Sysctls.OomDumpTasks == 0)
            return;
        Log.Write("Tasks state (memory values in pages):");
        Log.Write("[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name");
        foreach (Process process in machine.Processes.Snapshot())
        {
            if (ReferenceEquals(process, machine.Init) || FindWithMm(process) is not { Mm: { } mm } main)
                continue;
            Log.Write(string.Create(Invariant,
                $"[{process.Pid,7}] {main.Credentials.Uid,5} {process.Pid,5} {mm.TotalPages,8} {mm.ResidentPages,8} {mm.AnonPages,8} {mm.FilePages,8} {mm.ShmemPages,9} {mm.TableBytes,8} {mm.SwapEntries,8}         {process.Oom.ScoreAdj,5} {main.Comm}"));
        }
    }

    /// <summary>A thread that still has the process's memory (find_lock_task_mm).</summary>
    private static Task? FindWithMm(Process process)
    {
        lock (process.SignalLock)
        {
            foreach (Task thread in process.Threads)
                if (thread.Mm is not null)
                    return thread;
            return null;
        }
    }
}

using System.Runtime.CompilerServices;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks;

/// <summary>The making of new tasks (kernel/fork.c:kernel_clone, copy_process).</summary>
public sealed unsafe partial class Task
{
    internal long Clone(in CloneArguments args)
    {
        long error = args.Validate();
        if (error != 0)
            return error;
        if (Machine.Processes.LimitedCount >= (long)Math.Min(Process.Limits[ResourceLimits.NPROC].Current, Machine.MaxTasks))
            return -Errno.EAGAIN;
        // Ahead of all that a copy takes, of which nothing asks again.
        if (!Machine.KernelMemory.HasRoom)
            return -Errno.ENOMEM;
        if (!Machine.HostThreads.TryPrepare())
            return -Errno.EAGAIN;

        bool thread = args.Has(CloneArguments.THREAD);
        Mm mm;
        if (args.Has(CloneArguments.VM))
        {
            mm = Mm.Get();
        }
        else
        {
            Mm? copy = Mm.Fork(this);
            if (copy is null)
                return -Errno.ENOMEM;
            mm = copy;
        }
        int tid = Machine.Processes.AllocatePid();
        Process process = thread ? Process : NewProcess(args, tid);
        var child = new Task(Machine, process, tid)
        {
            Comm = Comm,
            Credentials = Credentials,
            Mm = mm,
            Files = args.Has(CloneArguments.FILES) ? Files.Share() : Files.Clone(),
            Fs = args.Has(CloneArguments.FS) ? Fs : Fs.Clone(),
            NoNewPrivileges = NoNewPrivileges,
            TimerSlackNs = TimerSlackNs,
            MemoryPolicy = MemoryPolicy,
        };
        child._blocked = Blocked;
        child.Scheduling.Affinity = Scheduling.Affinity;
        child.Scheduling.Policy = Scheduling.Policy;
        child.Scheduling.Nice = Scheduling.Nice;
        child.Scheduling.IoPriority = Scheduling.IoPriority;
        if (!args.Has(CloneArguments.VM) || args.Has(CloneArguments.VFORK))
        {
            child.AltStackBase = AltStackBase;
            child.AltStackSize = AltStackSize;
            child.AltStackFlags = AltStackFlags;
        }
        PrepareRegisters(child, args);

        // What the parent sees is written before the child can run; what the child sees, by the child itself.
        if (args.Has(CloneArguments.PARENT_SETTID))
            this.TryWrite(args.ParentTid, tid);
        if (args.Has(CloneArguments.CHILD_CLEARTID))
            child.ClearChildTid = args.ChildTid;
        ulong setTid = args.Has(CloneArguments.CHILD_SETTID) ? args.ChildTid : 0;
        var vfork = args.Has(CloneArguments.VFORK) ? child.Vfork = new VforkCompletion() : null;

        long pidFd = args.Has(CloneArguments.PIDFD) ? InstallPidFd(process, args.PidFd) : -1;
        bool refused = args.Has(CloneArguments.PIDFD) && pidFd < 0;
        if (refused || !Publish(child, thread))
        {
            if (pidFd >= 0)
                Files.Close(this, (int)pidFd);
            child.Files.Release(this);
            mm.Put(this);
            child.ReleaseRegisters();
            return refused ? pidFd : -Errno.ERESTARTNOINTR;
        }
        Machine.Scheduler.Start(child, () => child.Main(setTid == 0 ? null : () => child.TryWrite(setTid, child.Tid)));
        vfork?.Wait(this);
        return tid;
    }

    /// <summary>CLONE_PIDFD: the descriptor is the parent's, whose files the child has copied before; it is known before the child can run.</summary>
    private long InstallPidFd(Process process, ulong address)
    {
        long fd = Syscalls.DescriptorSyscalls.Install(this, PidFd.Create(this, process, FileAbi.O_RDWR), FileAbi.O_CLOEXEC);
        if (fd < 0 || this.TryWrite(address, (int)fd))
            return fd;
        Files.Close(this, (int)fd);
        return -Errno.EFAULT;
    }

    private Process NewProcess(in CloneArguments args, int pid)
    {
        Process parent = args.Has(CloneArguments.PARENT) ? Process.Parent! : Process;
        return new Process(Machine, pid, parent)
        {
            ProcessGroup = Process.ProcessGroup,
            Session = Process.Session,
            Limits = Process.Limits.Clone(),
            ExecutablePath = Process.ExecutablePath,
            ExitSignal = args.Has(CloneArguments.PARENT) ? Process.ExitSignal : args.ExitSignal,
            Actions = args.Has(CloneArguments.SIGHAND) ? Process.Actions
                : args.Has(CloneArguments.CLEAR_SIGHAND) ? Process.Actions.CloneCleared()
                : Process.Actions.Clone(),
            StartNs = Machine.Clock.MonotonicNs,
            Dumpable = Process.Dumpable,
            Personality = Process.Personality,
            Oom = Process.Oom.Clone(),
        };
    }

    /// <summary>Makes the child visible. False: the process is dying, or a signal came for a fork, and there is to be no child.</summary>
    private bool Publish(Task child, bool thread)
    {
        ProcessTable table = Machine.Processes;
        lock (table.Lock)
        {
            lock (Process.SignalLock)
            {
                if (MustExit || (!thread && ((Pending.Mask | Process.Pending.Mask) & ~Blocked) != 0))
                    return false;
                if (thread)
                    Process.Threads.Add(child);
            }
            if (!thread)
            {
                child.Process.Threads.Add(child);
                child.Process.Parent!.Children.Add(child.Process);
                table.Add(child.Process);
            }
            table.Add(child);
        }
        return true;
    }

    private void PrepareRegisters(Task child, in CloneArguments args)
    {
        VcpuRegisters* r = child.SavedRegisters;
        Unsafe.CopyBlock(r, Registers, (uint)sizeof(VcpuRegisters));
        r->Gpr[VcpuRegisters.Rax] = 0;
        if (args.Stack != 0)
            r->Gpr[VcpuRegisters.Rsp] = args.Stack;
        if (args.Has(CloneArguments.SETTLS))
            r->SetFsBase(args.Tls);
    }
}

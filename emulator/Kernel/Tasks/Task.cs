using System.Runtime.InteropServices;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Tasks;

/// <summary>
/// One guest thread. It runs on a host thread of its own; to execute guest instructions that thread needs a vCPU, which is a permit
/// the scheduler hands out. A task that sleeps gives its vCPU away first, so kernel code may block anywhere.
/// </summary>
/// <remarks>In bounds: registers are pointed to where the vCPU has them, or where they are saved; they are looked for again after anything that may sleep. No guest's number is part of that.</remarks>
public sealed unsafe partial class Task
{
    /// <summary>Of the structure's size, from the task's start to <see cref="ReleaseRegisters"/>, when nobody runs it any more.</summary>
    private VcpuRegisters* _saved;

    internal Task(Machine machine, Process process, int tid)
    {
        Machine = machine;
        Process = process;
        Pending = new PendingSignals(machine.KernelMemory);
        Tid = tid;
        Credentials = new Credentials(Credentials.UserId, Credentials.GroupId);
        _saved = (VcpuRegisters*)NativeMemory.AlignedAlloc((nuint)sizeof(VcpuRegisters), 64);
        _saved->Reset();
        _host = new HostThreadGate();
        Scheduling = new SchedulingState(measured: !machine.Options.Deterministic);
    }

    public Machine Machine { get; }

    /// <summary>The thread group.</summary>
    public Process Process { get; internal set; }

    public int Tid { get; internal set; }

    /// <summary>The name of PR_SET_NAME and /proc/PID/comm, at most 15 bytes.</summary>
    public string Comm { get; internal set; } = "";

    public Credentials Credentials { get; set; }

    /// <summary>The address space; null once the task has exited.</summary>
    public Mm Mm { get; internal set; } = null!;

    public FdTable Files { get; internal set; } = null!;

    /// <summary>Current directory, root directory and umask.</summary>
    public FsContext Fs { get; internal set; } = null!;

    /// <summary>Locks of shared regions' address spaces that the task holds.</summary>
    internal int HostsLocked { get; set; }

    /// <summary>Flushes that reclaim, running on this task's thread, has put off.</summary>
    internal Shootdown.TlbBatch TlbBatch => _tlbBatch ??= new Shootdown.TlbBatch(Machine.MemorySystem.Shootdown);

    private Shootdown.TlbBatch? _tlbBatch;

    /// <summary>What the task is doing in the kernel, for reports.</summary>
    internal Operations Operations { get; } = new();

    /// <summary>The vCPU that this task holds, or null while it sleeps.</summary>
    public Vcpu? Vcpu { get; internal set; }

    /// <summary>The guest registers: the vCPU's own while the task holds one, else the saved copy. Do not keep the pointer over anything that may sleep.</summary>
    public VcpuRegisters* Registers => Vcpu is { } vcpu ? &vcpu.State->Registers : _saved;

    internal VcpuRegisters* SavedRegisters => _saved;

    internal bool IsMainThread => Tid == Process.Pid;

    internal void ReleaseRegisters()
    {
        NativeMemory.AlignedFree(_saved);
        _saved = null;
    }

    public override string ToString() => $"{Comm}[{Tid}]";
}

using System.Text;

namespace Emulator.Kernel.Tasks;

/// <summary>What prctl and others set of a task, and the loading of its address space.</summary>
public sealed partial class Task
{
    /// <summary>TASK_COMM_LEN without the terminating zero.</summary>
    internal const int CommMaximum = 15;

    internal const long DefaultTimerSlackNs = 50_000;

    internal bool NoNewPrivileges { get; set; }

    /// <summary>set_mempolicy's; null: the default.</summary>
    internal Memory.MemoryPolicy? MemoryPolicy { get; set; }

    internal long TimerSlackNs { get; set; } = DefaultTimerSlackNs;

    /// <summary>Sets the name shown in /proc/PID/comm: at most 15 bytes, kept byte for byte.</summary>
    internal void SetComm(ReadOnlySpan<byte> name) => Comm = Encoding.Latin1.GetString(name[..Math.Min(name.Length, CommMaximum)]);

    /// <summary>Makes the vCPU use this task's address space.</summary>
    internal void LoadMm()
    {
        if (Mm is not null)
            Machine.MemorySystem.Shootdown.SwitchMm(Vcpu!, Mm);
    }

    /// <summary>Takes a new address space after the old one was released (execve).</summary>
    internal void UseMm(Memory.Mm mm)
    {
        Mm = mm;
        LoadMm();
    }

    /// <summary>Leaves the address space for the kernel's own.</summary>
    private void DropMm()
    {
        Mm = null!;
        Machine.MemorySystem.Shootdown.SwitchToKernel(Vcpu!);
    }
}

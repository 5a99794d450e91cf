using System.Runtime.InteropServices;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>struct timespec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct Timespec(long Seconds, long Nanoseconds)
{
    public bool IsValid => Seconds >= 0 && (ulong)Nanoseconds < Clock.Second;

    /// <summary>Nanoseconds, saturating.</summary>
    public long ToNs() => Seconds >= Clock.Never / Clock.Second ? Clock.Never : Seconds * Clock.Second + Nanoseconds;

    public static Timespec FromNs(long ns) => new(ns / Clock.Second, ns % Clock.Second);

    /// <summary>Reads an optional relative time-out and makes a deadline of it. 0, -EFAULT or -EINVAL.</summary>
    public static long ReadDeadline(Task task, ulong address, out long deadlineNs)
    {
        deadlineNs = Clock.Never;
        if (address == 0)
            return 0;
        if (!task.TryRead(address, out Timespec t))
            return -Errno.EFAULT;
        if (!t.IsValid)
            return -Errno.EINVAL;
        deadlineNs = Deadline.After(task.Machine.Clock.MonotonicNs, t.ToNs());
        return 0;
    }
}

/// <summary>struct timeval.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct Timeval(long Seconds, long Microseconds)
{
    public bool IsValid => Seconds >= 0 && (ulong)Microseconds < 1_000_000;

    public long ToNs() => new Timespec(Seconds, Microseconds * 1000).ToNs();

    public static Timeval FromNs(long ns) => new(ns / Clock.Second, ns % Clock.Second / 1000);

    /// <summary>As <see cref="FromNs"/>, but what is not zero does not become zero.</summary>
    public static Timeval FromNsUp(long ns) => FromNs(ns + 999);
}

/// <summary>struct rusage.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ResourceUsage
{
    public Timeval User, System;
    public long MaxRss, SharedText, Unshared, Stack, MinorFaults, MajorFaults, Swaps, InBlocks, OutBlocks, Sent, Received, Signals, Voluntary, Involuntary;

    public static ResourceUsage Of(in TaskUsage usage) => new()
    {
        User = Timeval.FromNs(usage.UserNs),
        System = Timeval.FromNs(usage.SystemNs),
        MaxRss = usage.PeakResidentPages * 4,
        MinorFaults = usage.MinorFaults,
        MajorFaults = usage.MajorFaults,
        Voluntary = usage.Voluntary,
        Involuntary = usage.Involuntary,
    };
}

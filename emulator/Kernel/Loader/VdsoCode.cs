using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Kernel.Loader;

/// <summary>
/// The vDSO's functions (lib/vdso/gettimeofday.c, arch/x86/entry/vdso). The time-stamp counter is CLOCK_MONOTONIC in nanoseconds and the distance to
/// CLOCK_REALTIME never changes, so there is no page of clock data to read and nothing to retry: the distance is a constant in the code.
/// </summary>
internal static class VdsoCode
{
    /// <summary>Clocks that are the counter, and those that are the counter and the distance: one bit for each number.</summary>
    private const uint Monotonic = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7, Realtime = 1 << 0 | 1 << 5 | 1 << 11;
    private const uint LastClock = 11;

    internal sealed record Function(string Name, Action<Assembler, long> Emit);

    public static IReadOnlyList<Function> Functions { get; } =
    [
        new("clock_gettime", ClockGetTime),
        new("gettimeofday", GetTimeOfDay),
        new("clock_getres", static (a, _) => SystemCall(a, 229)),
        new("time", Time),
        new("getcpu", GetCpu),
    ];

    /// <summary>Clocks of processor time and unknown ones are the kernel's business.</summary>
    private static void ClockGetTime(Assembler a, long realtimeOffset)
    {
        Label kernel = a.CreateLabel(), monotonic = a.CreateLabel();
        a.cmp(edi, LastClock);
        a.ja(kernel);
        a.mov(eax, Monotonic | Realtime);
        a.bt(eax, edi);
        a.jnc(kernel);
        ReadCounter(a);
        a.mov(ecx, Realtime);
        a.bt(ecx, edi);
        a.jnc(monotonic);
        a.mov(rcx, realtimeOffset);
        a.add(rax, rcx);
        a.Label(ref monotonic);
        SplitSeconds(a);
        a.mov(__qword_ptr[rsi], rax);
        a.mov(__qword_ptr[rsi + 8], rdx);
        a.xor(eax, eax);
        a.ret();
        a.Label(ref kernel);
        SystemCall(a, 228);
    }

    private static void GetTimeOfDay(Assembler a, long realtimeOffset)
    {
        Label zone = a.CreateLabel(), done = a.CreateLabel();
        a.test(rdi, rdi);
        a.je(zone);
        ReadRealtime(a, realtimeOffset);
        SplitSeconds(a);
        a.mov(__qword_ptr[rdi], rax);
        a.mov(eax, edx);
        a.xor(edx, edx);
        a.mov(ecx, 1000);
        a.div(ecx);
        a.mov(__qword_ptr[rdi + 8], rax);
        a.Label(ref zone);
        a.test(rsi, rsi);
        a.je(done);
        a.mov(__qword_ptr[rsi], 0);
        a.Label(ref done);
        a.xor(eax, eax);
        a.ret();
    }

    private static void Time(Assembler a, long realtimeOffset)
    {
        Label done = a.CreateLabel();
        ReadRealtime(a, realtimeOffset);
        SplitSeconds(a);
        a.test(rdi, rdi);
        a.je(done);
        a.mov(__qword_ptr[rdi], rax);
        a.Label(ref done);
        a.ret();
    }

    /// <summary>RDTSCP gives the processor's number in ECX; there is one node.</summary>
    private static void GetCpu(Assembler a, long realtimeOffset)
    {
        Label node = a.CreateLabel(), done = a.CreateLabel();
        a.rdtscp();
        a.test(rdi, rdi);
        a.je(node);
        a.mov(__dword_ptr[rdi], ecx);
        a.Label(ref node);
        a.test(rsi, rsi);
        a.je(done);
        a.mov(__dword_ptr[rsi], 0);
        a.Label(ref done);
        a.xor(eax, eax);
        a.ret();
    }

    /// <summary>RAX: the counter. Changes RDX.</summary>
    private static void ReadCounter(Assembler a)
    {
        a.rdtsc();
        a.shl(rdx, 32);
        a.or(rax, rdx);
    }

    /// <summary>RAX: CLOCK_REALTIME. Changes RCX and RDX.</summary>
    private static void ReadRealtime(Assembler a, long realtimeOffset)
    {
        ReadCounter(a);
        a.mov(rcx, realtimeOffset);
        a.add(rax, rcx);
    }

    /// <summary>RAX to seconds, RDX to the nanoseconds that remain. Changes RCX.</summary>
    private static void SplitSeconds(Assembler a)
    {
        a.xor(edx, edx);
        a.mov(ecx, (uint)Clock.Second);
        a.div(rcx);
    }

    private static void SystemCall(Assembler a, uint number)
    {
        a.mov(eax, number);
        a.syscall();
        a.ret();
    }
}

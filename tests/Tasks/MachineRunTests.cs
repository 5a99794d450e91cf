using System.Diagnostics;
using Emulator.Kernel;
using Emulator.Kernel.Tasks;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Tasks;

/// <summary>How runs end.</summary>
public sealed class MachineRunTests
{
    private const int Nanosleep = 35, Pause = 34, Fork = 57, Exit = 60, Kill = 62, GetPid = 39, ExitGroup = 231, Futex = 202;

    private static readonly MachineOptions Parallel = new() { Timeout = TimeSpan.FromSeconds(30) };
    private static readonly MachineOptions Deterministic = Parallel with { Deterministic = true, Seed = 1 };

    public static IEnumerable<MachineOptions> Both => [Parallel, Deterministic];

    [TestCaseSource(nameof(Both))]
    public void The_exit_code_is_the_low_byte_of_what_the_guest_gave(MachineOptions options) =>
        Assert.That(TinyGuest.Run(options, static a => a.Call(ExitGroup, 0x1_2A)), Is.EqualTo(new ExitStatus(ExitReason.Exited, 0x2A)));

    [TestCaseSource(nameof(Both))]
    public void A_guest_that_kills_itself_ends_by_that_signal(MachineOptions options)
    {
        ExitStatus status = TinyGuest.Run(options, static a =>
        {
            a.Call(GetPid);
            a.mov(rdi, rax);
            a.mov(esi, Signal.SIGTERM);
            a.mov(eax, Kill);
            a.syscall();
            a.Call(ExitGroup, 1);
        });
        Assert.That((status.Reason, status.Signal), Is.EqualTo((ExitReason.Signaled, Signal.SIGTERM)));
    }

    /// <summary>clone keeps eight bits for the signal that a child's end sends, and does not ask whether there is such a signal.</summary>
    [TestCase(65), TestCase(100), TestCase(255)]
    public void A_child_whose_end_is_to_send_no_possible_signal_ends_quietly(int signal)
    {
        const int Clone = 56, Wait4 = 61, All = 0x4000_0000;
        ExitStatus status = TinyGuest.Run(Deterministic, a =>
        {
            Label parent = a.CreateLabel();
            a.Call(Clone, signal, 0, 0, 0, 0);
            a.test(rax, rax);
            a.jnz(parent);
            a.Call(ExitGroup, 0);
            a.Label(ref parent);
            a.Call(Wait4, -1, 0, All, 0);
            a.mov(edi, eax);
            a.mov(eax, ExitGroup);
            a.syscall();
        });
        Assert.That(status, Is.EqualTo(new ExitStatus(ExitReason.Exited, 3)));
    }

    [Test]
    public void A_crash_reports_vector_address_and_instruction()
    {
        ExitStatus status = TinyGuest.Run(Parallel, static a => a.mov(__byte_ptr[0x123], 1));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(status.Signal, Is.EqualTo(Signal.SIGSEGV));
            Assert.That(status.Report, Is.Not.Null);
            Assert.That(status.Report!.Vector, Is.EqualTo(14));
            Assert.That(status.Report.ErrorCode, Is.EqualTo(6), "a write by the user to a page that is not present");
            Assert.That(status.Report.FaultAddress, Is.EqualTo(0x123));
            Assert.That(status.Report.Registers.Rip, Is.EqualTo(TinyGuest.Code));
            Assert.That(status.Report.InstructionBytes, Has.Length.EqualTo(15).And.Not.All.Zero);
        }
    }

    [Test]
    public void An_endless_loop_ends_at_the_time_out()
    {
        var watch = Stopwatch.StartNew();
        ExitStatus status = TinyGuest.Run(Parallel with { Timeout = TimeSpan.FromMilliseconds(200) }, EndlessLoop);
        Assert.That(status.Reason, Is.EqualTo(ExitReason.TimedOut));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(30)));
    }

    [TestCaseSource(nameof(Both))]
    public void An_endless_loop_ends_at_the_instruction_limit(MachineOptions options) =>
        Assert.That(TinyGuest.Run(options with { MaxInstructions = 100_000 }, EndlessLoop).Reason, Is.EqualTo(ExitReason.InstructionLimit));

    [Test]
    public void A_machine_can_be_disposed_of_while_its_guest_sleeps_for_ever()
    {
        var options = Parallel with { Timeout = TimeSpan.FromMilliseconds(100), Vcpus = 2 };
        Assert.That(TinyGuest.Run(options, static a => a.Call(Pause)).Reason, Is.EqualTo(ExitReason.TimedOut));
    }

    [Test]
    public void A_deterministic_machine_says_that_everybody_waits_for_somebody_else() =>
        Assert.That(TinyGuest.Run(Deterministic, static a => a.Call(Pause)).Reason, Is.EqualTo(ExitReason.Deadlock));

    [Test]
    public void A_futex_that_nobody_wakes_is_a_deadlock_too() =>
        Assert.That(TinyGuest.Run(Deterministic, static a => a.Call(Futex, (long)TinyGuest.Base + 0x800, 0, 0, 0)).Reason, Is.EqualTo(ExitReason.Deadlock));

    [Test]
    public void Virtual_time_jumps_over_a_sleep_of_a_year()
    {
        long slept = 0;
        ExitStatus status = TinyGuest.Run(
            Deterministic,
            static a =>
            {
                a.mov(rax, 365L * 86400);
                a.push(0);
                a.push(rax);
                a.mov(rdi, rsp);
                a.xor(esi, esi);
                a.mov(eax, Nanosleep);
                a.syscall();
                a.mov(edi, eax);
                a.mov(eax, ExitGroup);
                a.syscall();
            },
            machine => slept = machine.Clock.MonotonicNs);
        Assert.That(status.Code, Is.Zero);
        Assert.That(slept, Is.GreaterThanOrEqualTo(365L * 86400 * Clock.Second));
    }

    [Test]
    public void An_unknown_system_call_is_ENOSYS_and_counted()
    {
        IReadOnlyDictionary<ulong, long>? unknown = null;
        ExitStatus status = TinyGuest.Run(Parallel, UnknownCall, machine => unknown = machine.UnknownSyscalls);
        Assert.That(status.Code, Is.EqualTo(Errno.ENOSYS));
        Assert.That(unknown, Is.EqualTo(new Dictionary<ulong, long> { [999] = 1 }));
    }

    [Test]
    public void An_unknown_system_call_ends_the_run_where_that_was_asked_for()
    {
        ExitStatus status = TinyGuest.Run(Parallel with { FailOnUnsupported = true }, UnknownCall);
        Assert.That(status.Reason, Is.EqualTo(ExitReason.Unsupported));
        Assert.That(status.Message, Does.Contain("999"));
    }

    [TestCaseSource(nameof(Both))]
    public void Children_that_outlive_the_program_end_with_the_machine(MachineOptions options)
    {
        ExitStatus status = TinyGuest.Run(options with { Vcpus = 2 }, static a =>
        {
            Label parent = a.CreateLabel();
            a.Call(Fork);
            a.test(eax, eax);
            a.jnz(parent);
            a.Call(Pause);
            a.Label(ref parent);
            a.Call(ExitGroup, 3);
        });
        Assert.That(status, Is.EqualTo(new ExitStatus(ExitReason.Exited, 3)));
    }

    [Test]
    public void The_same_seed_gives_the_same_number_of_switches_and_calls()
    {
        (long, long, long) Run(ulong seed)
        {
            (long, long, long) seen = default;
            TinyGuest.Run(Deterministic with { Seed = seed, Vcpus = 3 }, ForkTree, m => seen = (m.Scheduler.Switches, m.SyscallCount, m.Clock.MonotonicNs));
            return seen;
        }

        (long, long, long) first = Run(7);
        Assert.That(Run(7), Is.EqualTo(first));
        Assert.That(Run(8), Is.Not.EqualTo(first));
    }

    /// <summary>Sixteen processes, each of which counts for a while.</summary>
    private static void ForkTree(Assembler a)
    {
        for (int i = 0; i < 4; i++)
            a.Call(Fork);
        Label loop = a.CreateLabel();
        a.mov(ecx, 5000);
        a.Label(ref loop);
        a.dec(ecx);
        a.jnz(loop);
        a.Call(Exit, 0);
    }

    private static void UnknownCall(Assembler a)
    {
        a.Call(999);
        a.neg(eax);
        a.mov(edi, eax);
        a.mov(eax, ExitGroup);
        a.syscall();
    }

    private static void EndlessLoop(Assembler a)
    {
        Label here = a.CreateLabel();
        a.Label(ref here);
        a.jmp(here);
    }
}

using Emulator.Cli.Commands;
using Emulator.Cli.Reports;
using Emulator.Hardware.Cpu;
using Emulator.Kernel;
using Emulator.Kernel.Reports;
using Emulator.Tests.Tasks;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cli;

/// <summary>What a person reads when something has gone wrong.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed class ReportTests
{
    /// <summary>The report that a program of a few instructions ends with.</summary>
    internal static string Report(CpuFeatures features, Action<Assembler> program)
    {
        ExitStatus status = TinyGuest.Run(new MachineOptions { Cpu = features, Deterministic = true }, program);
        Assert.That(status.Report, Is.Not.Null);
        return Render(status.Report!);
    }

    private static string Render(Report report) => new ReportRenderer(new RunFacts(true, 0, 1, ["emulator", "run", "tiny"]), new Palette("never")).Render(report);

    [Test]
    public void An_instruction_that_the_level_switches_off_is_named_with_its_feature_and_the_level_that_has_it()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Report(CpuFeatures.V1, a => a.pshufb(xmm0, xmm1)), Does.Contain("needs SSSE3, which --cpu switches off").And.Contain("--cpu x86-64-v2 has it"));
            Assert.That(Report(CpuFeatures.V1, a => a.crc32(eax, ecx)), Does.Contain("needs SSE4.2, which --cpu switches off"));
            Assert.That(Report(CpuFeatures.V1, a => a.lahf()), Does.Contain("needs LAHF-SAHF"));
            Assert.That(Report(CpuFeatures.V2, a => a.andn(eax, ebx, ecx)), Does.Contain("needs BMI1, which --cpu switches off").And.Contain("--cpu max has it"));
        }
    }

    [Test]
    public void An_instruction_that_no_level_has_is_called_unsupported()
        => Assert.That(Report(CpuFeatures.Max, a => a.vaddps(ymm0, ymm1, ymm2)), Does.Contain("not implemented by the emulator").And.Contain("[AVX]"));

    [Test]
    public void The_ways_into_32_bit_code_are_called_that()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Report(CpuFeatures.Max, a => a.@int(0x80)), Does.Contain("64-bit code only"));
            Assert.That(Report(CpuFeatures.Max, a => a.sysenter()), Does.Contain("64-bit code only"));
            Assert.That(Report(CpuFeatures.Max, a =>
            {
                a.push(0x23);
                a.push(0);
                a.AddInstruction(Instruction.Create(Code.Retfq));
            }), Does.Contain("64-bit code only"));
        }
    }

    [Test]
    public void An_instruction_that_no_processor_executes_is_the_programs_own_crash()
        => Assert.That(Report(CpuFeatures.V1, a => a.ud2()), Does.Contain("invalid opcode (#UD)"));

    [Test]
    public void Callers_are_found_by_frame_pointers()
    {
        string[] callers = Callers(a =>
        {
            Label outer = a.CreateLabel(), inner = a.CreateLabel();
            a.call(outer);
            a.Label(ref outer);
            a.push(rbp);
            a.mov(rbp, rsp);
            a.call(inner);
            a.nop();
            a.Label(ref inner);
            a.push(rbp);
            a.mov(rbp, rsp);
            a.ud2();
        });
        Assert.That(callers, Has.Length.EqualTo(2));
        Assert.That(callers[0], Does.Contain($"0x{TinyGuest.Code + 14:x16}  (tiny-"));
        Assert.That(callers[1], Does.Contain($"0x{TinyGuest.Code + 5:x16}  (tiny-"));
    }

    private static readonly ulong[] NoFrames = [0, 1, 0xFFFF_8000_0000_0000, 0x0000_8000_0000_0000, ulong.MaxValue, ulong.MaxValue - 7, 0x7FFF_FFFF_FFF8, TinyGuest.Code & ~7UL];

    [TestCaseSource(nameof(NoFrames))]
    public void A_frame_pointer_that_is_none_is_not_followed(ulong value) => Assert.That(Callers(a =>
    {
        a.mov(rbp, value);
        a.ud2();
    }), Is.Empty);

    [Test]
    public void Frames_that_lead_back_end_at_once() => Assert.That(Callers(a =>
    {
        // The frame names itself as its caller's.
        a.mov(rax, TinyGuest.Code);
        a.push(rax);
        a.push(rsp);
        a.mov(rbp, rsp);
        a.mov(__[rsp], rbp);
        a.ud2();
    }), Has.Length.EqualTo(1));

    [Test]
    public void However_deep_the_stack_is_its_callers_are_few() => Assert.That(Callers(a =>
    {
        Label again = a.CreateLabel();
        a.mov(ecx, 1000);
        a.mov(rax, TinyGuest.Code);
        a.Label(ref again);
        a.push(rax);
        a.push(rbp);
        a.mov(rbp, rsp);
        a.dec(ecx);
        a.jnz(again);
        a.ud2();
    }), Has.Length.EqualTo(16));

    private static string[] Callers(Action<Assembler> program) =>
        [.. Report(CpuFeatures.Max, program).Split('\n').SkipWhile(static line => !line.StartsWith("  callers", StringComparison.Ordinal)).TakeWhile(static line => line.Contains('#', StringComparison.Ordinal))];

    [Test]
    public void The_walk_is_told_step_by_step()
    {
        string report = Report(CpuFeatures.Max, a => a.mov(eax, __[0x123]));
        Assert.That(report, Does.Contain("  access    read of unmapped 0x0000000000000123\n  mapping   none at this address\n  walk      PML4[0] "));
        Assert.That(report, Does.Match(@"PT\[0\] |PD\[0\] .*not present: the walk ends here"));
    }

    [Test]
    public void No_name_that_a_program_chose_reaches_the_terminal_as_a_command_or_adds_a_row()
    {
        const string Evil = "\u001b[2J\u009b\r\n  fault     nobody's\u202e";
        var report = new Report
        {
            Kind = ReportKind.GuestCrash, Tid = 2, Pid = 2, Signal = 11, Vector = 14, Rip = 1, Command = Evil, Location = new CodeLocation(Evil, Evil), Mapping = Evil, CodeMapping = Evil,
            Backtrace = [new StackFrame(1, new CodeLocation(Evil, Evil))],
        };
        foreach (string text in (string[])[Render(report), ReportRenderer.Brief(report)])
            Assert.That(text, Does.Contain("\\x1b[2J\\x9b\\x0d\\x0a  fault     nobody's\\u202e").And.Not.Match(@"[\p{Cc}\p{Cf}-[\n]]").And.Not.Match("(?m)^  fault     nobody"));
    }

    [Test]
    public void A_system_call_that_is_not_implemented_is_reported_once_and_answered()
    {
        var reports = new List<Report>();
        ExitStatus status = TinyGuest.Run(new MachineOptions { Report = reports.Add }, a =>
        {
            a.Call(425, 1, 2);
            a.Call(425, 1, 2);
            a.mov(rdi, rax);
            a.neg(rdi);
            a.mov(eax, 231);
            a.syscall();
        });
        Assert.That(status.Code, Is.EqualTo(Errno.ENOSYS));
        Assert.That(reports, Has.Count.EqualTo(1));
        Assert.That(Render(reports[0]), Does.StartWith("unsupported system call: io_uring_setup (425) is answered with ENOSYS [EMU-UNSUP-SYSCALL]\n")
            .And.Contain("  call      io_uring_setup(0x1, 0x2, ").And.Contain("<0f 05>"));
    }

    [Test]
    public void Every_identifier_is_its_own_and_found_in_any_case()
    {
        Assert.That(Diagnostics.All.Select(static d => d.Id), Is.Unique.And.All.Match("^EMU(-[A-Z0-9]+)+$"));
        foreach (Diagnostic diagnostic in Diagnostics.All)
            Assert.That(Diagnostics.Find(diagnostic.Id.ToLowerInvariant()), Is.SameAs(diagnostic));
        Assert.That(Diagnostics.Find("EMU-BUG-01234567"), Is.SameAs(Diagnostics.Bug));
    }

    [TestCase("EMU-CRASH", ExpectedResult = "EMU-GUEST-CRASH")]
    [TestCase("emu-oom", ExpectedResult = "EMU-GUEST-OOM")]
    [TestCase("EMU-CHEKC-STALE", ExpectedResult = "EMU-CHECK-STALE")]
    [TestCase("stale", ExpectedResult = "EMU-CHECK-STALE")]
    public string A_wrong_identifier_has_a_neighbour(string id) => Nearest.To(id, Diagnostics.All.Select(static d => d.Id));

    [TestCase("run --vcpus 2 -- a b", 2, false, ExpectedResult = "emulator run --sched deterministic --seed 7 --vcpus 2 -- a b  # the run was parallel: if this one differs, try other seeds")]
    [TestCase("--sched parallel --sched=parallel --seed=9 a", 1, false, ExpectedResult = "emulator run --sched deterministic --seed=9 a  # the run was parallel: if this one differs, try other seeds")]
    [TestCase("--sched deterministic --seed 9 a $x", 2, true, ExpectedResult = "emulator run --sched deterministic --seed 9 a '$x'")]
    [TestCase("--sched deterministic --seed 9 a it's \u001b[2J \u009b\\'", 4, true, ExpectedResult = "emulator run --sched deterministic --seed 9 a 'it'\\''s' $'\\x1b[2J' $'\\xc2\\x9b\\\\\\''")]
    [TestCase("--sched deterministic run", 1, true, ExpectedResult = "emulator run --seed 7 --sched deterministic run")]
    public string A_run_is_replayed_by_a_line_with_scheduler_and_seed(string arguments, int operands, bool deterministic) =>
        ReplayLine.Write(ReplayLine.Words(arguments.Split(' '), operands, deterministic, 7), deterministic);
}

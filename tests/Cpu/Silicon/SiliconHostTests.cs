using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>The native side against facts from the manual, without the interpreter.</summary>
internal sealed unsafe class SiliconHostTests
{
    private SiliconHost? host;

    [SetUp]
    public void Start()
    {
        if (SiliconHost.Unsupported is { } reason)
            Assert.Ignore(reason);
        host = new SiliconHost();
    }

    [TearDown]
    public void Stop() => host?.Dispose();

    private CpuOutcome Run(Action<Assembler> emit, Func<CpuImage, CpuImage>? prepare = null)
    {
        var assembler = new Assembler(64);
        emit(assembler);
        var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), CodeBase);
        CpuCase item = default;
        item.CodeAddress = CodeBase;
        item.SetCode(bytes.ToArray());
        item.State.Rip = CodeBase;
        item.State.Rflags = 0x202;
        item.State.Mxcsr = 0x1F80;
        item.State.X87Control = 0x37F;
        item.State.Gpr[4] = DataBase + 0x1800;
        if (prepare != null)
            item.State = prepare(item.State);
        host!.Run([item]);
        host.Read(0, out var outcome);
        return outcome;
    }

    [Test]
    public void An_addition_gives_its_sum_and_flags_and_lands_on_the_halt()
    {
        var outcome = Run(a => a.add(al, bl), prepare: s =>
        {
            s.Gpr[0] = 0x1122_3344_5566_77FF;
            s.Gpr[3] = 1;
            return s;
        });
        Assert.That(outcome.Vector, Is.EqualTo(13));
        Assert.That(outcome.State.Rip, Is.EqualTo(CodeBase + 2));
        Assert.That(outcome.State.Gpr[0], Is.EqualTo(0x1122_3344_5566_7700));
        Assert.That(outcome.State.Rflags & 0x8D5, Is.EqualTo(0x55));
    }

    [Test]
    public void A_division_by_zero_is_vector_0_at_the_instruction()
    {
        var outcome = Run(a => a.div(rbx));
        Assert.That((outcome.Vector, outcome.State.Rip), Is.EqualTo((0, CodeBase)));
    }

    [Test]
    public void A_store_to_a_read_only_page_faults_with_its_address_and_error_code()
    {
        var outcome = Run(a => a.mov(__dword_ptr[rbx + 5], eax), prepare: s =>
        {
            s.Gpr[3] = DataBase;
            return s;
        });
        Assert.That((outcome.Vector, outcome.ErrorCode, outcome.FaultAddress), Is.EqualTo((14, 7UL, DataBase + 5)));
    }

    [Test]
    public void A_load_whose_second_page_is_absent_faults_at_that_page()
    {
        var outcome = Run(a => a.mov(rax, __qword_ptr[rbx]), prepare: s =>
        {
            s.Gpr[3] = DataBase + 0x3FFD;
            return s;
        });
        Assert.That((outcome.Vector, outcome.ErrorCode, outcome.FaultAddress), Is.EqualTo((14, 4UL, DataBase + 0x4000)));
    }

    [Test]
    public void A_jump_into_absent_memory_faults_on_fetch()
    {
        var outcome = Run(a => a.jmp(CodeBase + 0x2000));
        Assert.That((outcome.Vector, outcome.ErrorCode, outcome.State.Rip), Is.EqualTo((14, 0x14UL, CodeBase + 0x2000)));
    }

    [Test]
    public void A_store_is_seen_in_the_memory_and_gone_in_the_next_case()
    {
        host!.Pristine.Fill(0x5A);
        Run(a => a.mov(__byte_ptr[rsp], 7));
        Assert.That(host.Memory(0)[0x800], Is.EqualTo(7));
        Run(a => a.nop());
        Assert.That(host.Memory(0)[0x800], Is.EqualTo(0x5A));
    }

    [Test]
    public void Vector_and_x87_state_go_in_and_come_out()
    {
        var outcome = Run(a =>
        {
            a.addps(xmm3, xmm3);
            a.fld1();
        }, prepare: s =>
        {
            s.Xmm(3).Fill(0x3F);
            return s;
        });
        var state = outcome.State;
        Assert.That(state.Xmm(3)[3], Is.EqualTo(0x3F));
        Assert.That(state.Xmm(3)[2], Is.EqualTo(0xBF));
        Assert.That(state.X87Tag, Is.EqualTo(0x80));
        Assert.That(state.St(0)[7..].ToArray(), Is.EqualTo(new byte[] { 0x80, 0xFF, 0x3F }));
        Assert.That(state.X87Status >> 11, Is.EqualTo(7));
    }

    [Test]
    public void An_unmasked_sse_exception_is_vector_19()
    {
        var outcome = Run(a => a.divss(xmm1, xmm2), prepare: s =>
        {
            s.Mxcsr = 0;
            s.Xmm(1)[3] = 0x40;
            return s;
        });
        Assert.That((outcome.Vector, outcome.State.Mxcsr), Is.EqualTo((19, 4u)));
    }
}

using Emulator.Hardware.Cpu;
using Emulator.Hardware.Cpu.X87;

namespace Emulator.Tests.Cpu.X87;

/// <summary>Special operands, stack faults and unmasked exceptions. The expected words were read from an Intel processor.</summary>
internal sealed unsafe class X87ExceptionTests
{
    private const ushort Masked = 0x37F, Unmasked = 0x340;

    private static readonly Float80 Third = new(0xAAAAAAAAAAAAAAAB, 0x3FFD), Denormal = new(1, 0), Zero = Float80.Zero(false),
        Largest = new(ulong.MaxValue, 0x7FFE), Signaling = new(0xA000000000000000, 0x7FFF), Unnormal = new(1, 5);

    private delegate void Instruction(VcpuRegisters* r, int i);

    /// <summary>Runs the instruction on ST(0) and ST(1), all registers being valid and TOP 0; gives ST(0) and the status word.</summary>
    private static (Float80 Top, ushort Status) Run(Instruction instruction, Float80 first, Float80 second, ushort control = Masked, byte valid = 0xFF)
    {
        VcpuRegisters registers = default;
        registers.Reset();
        X87State* s = &registers.X87;
        s->Control = control;
        s->Valid = valid;
        X87Stack.Put(s, 0, first);
        X87Stack.Put(s, 1, second);
        instruction(&registers, 1);
        return (X87Stack.Get(s, 0), s->Status);
    }

    [Test]
    public void A_denormal_over_zero_is_a_division_by_zero_only()
        => Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Divide>, Denormal, Zero), Is.EqualTo((Float80.Infinity(false), (ushort)0x4)));

    [Test]
    public void A_masked_overflow_gives_infinity()
        => Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Multiply>, Largest, Largest), Is.EqualTo((Float80.Infinity(false), (ushort)0x228)));

    [Test]
    public void An_unmasked_overflow_gives_the_exponent_less_its_bias()
        => Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Multiply>, Largest, Largest, Unmasked), Is.EqualTo((new Float80(0xFFFFFFFFFFFFFFFE, 0x5FFE), (ushort)0x80A8)));

    [Test]
    public void An_unmasked_underflow_of_a_sine_gives_the_exponent_plus_its_bias()
        => Assert.That(Run(X87Arithmetic.Fsin, Denormal, Zero, 0x36F), Is.EqualTo((new Float80(Float80.IntegerBit, 0x5FC2), (ushort)0x80B2)));

    [Test]
    public void An_unmasked_invalid_operation_leaves_the_register()
        => Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Add>, Signaling, Third, Unmasked), Is.EqualTo((Signaling, (ushort)0x8081)));

    [Test]
    public void A_masked_signaling_nan_becomes_quiet()
        => Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Add>, Signaling, Third), Is.EqualTo((Signaling.Quieted, (ushort)1)));

    [Test]
    public void An_unnormal_is_an_invalid_operand()
        => Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Add>, Unnormal, Third), Is.EqualTo((Float80.Indefinite, (ushort)1)));

    [Test]
    public void A_quiet_nan_goes_before_a_signaling_one()
    {
        Float80 quiet = new(Float80.IntegerBit | Float80.QuietBit | 5, 0x7FFF);
        Assert.That(Run(X87Arithmetic.ToTop<X87Arithmetic.Add>, new Float80(0xBFFFFFFFFFFFFFFF, 0x7FFF), quiet), Is.EqualTo((quiet, (ushort)1)));
    }

    [Test]
    public void A_push_onto_a_full_stack_sets_C1_and_gives_the_indefinite()
        => Assert.That(Run(X87Moves.FldRegister, Float80.One, Third), Is.EqualTo((Float80.Indefinite, (ushort)0x3A41)));

    [Test]
    public void A_copy_of_an_empty_register_is_an_underflow_even_on_a_full_stack()
        => Assert.That(Run(X87Moves.FldRegister, Float80.One, Third, valid: 0xFD), Is.EqualTo((Float80.Indefinite, (ushort)0x3841)));

    [Test]
    public void An_unmasked_stack_fault_leaves_the_stack()
        => Assert.That(Run(X87Moves.FldRegister, Float80.One, Third, Unmasked), Is.EqualTo((Float80.One, (ushort)0x82C1)));

    [Test]
    public void A_sine_out_of_range_only_sets_C2()
        => Assert.That(Run(X87Arithmetic.Fsin, new Float80(Float80.IntegerBit, 0x403E), Zero), Is.EqualTo((new Float80(Float80.IntegerBit, 0x403E), (ushort)0x400)));

    [TestCase(0, 0xC90FDAA22168C235UL)]
    [TestCase(1, 0xC90FDAA22168C234UL)]
    [TestCase(2, 0xC90FDAA22168C235UL)]
    [TestCase(3, 0xC90FDAA22168C234UL)]
    public void Pi_is_rounded_as_the_control_word_says(int rounding, ulong significand)
        => Assert.That(Run(X87Moves.Fldpi, Zero, Zero, (ushort)(Masked | (rounding << 10)), valid: 0).Top, Is.EqualTo(new Float80(significand, 0x4000)));

    [TestCase(0UL, 0, true, (ushort)0x4100)]
    [TestCase(0UL, 0, false, (ushort)0x4000)]
    [TestCase(0x8000000000000000UL, 0x3FFF, false, (ushort)0x0400)]
    [TestCase(0x8000000000000000UL, 0xFFFF, false, (ushort)0x0700)]
    [TestCase(0xC000000000000000UL, 0x7FFF, false, (ushort)0x0100)]
    [TestCase(1UL, 0, false, (ushort)0x4400)]
    [TestCase(1UL, 5, false, (ushort)0)]
    public void Examination_names_the_class(ulong significand, int signExponent, bool empty, ushort conditions)
        => Assert.That(Run(X87Compare.Fxam, new Float80(significand, (ushort)signExponent), Zero, valid: empty ? (byte)0 : (byte)0xFF).Status, Is.EqualTo(conditions));
}

using System.Globalization;
using FsCheck;
using FsCheck.Fluent;

namespace Emulator.Tests.Mm.Properties;

/// <summary>
/// Random sequences of everything that changes memory, against <see cref="AddressSpaceModel"/>; see <see cref="MmSequence"/>.
/// EMULATOR_MM_SEQUENCES sets how many, EMULATOR_MM_SEED which, EMULATOR_MM_REPLAY runs one that a failure printed.
/// </summary>
public sealed class MmPropertyTests
{
    private const int Steps = 32, Sequences = 10_000, Parts = 8;

    /// <summary>The parts run at the same time.</summary>
    [Test]
    public void Random_operations_leave_what_a_plain_table_of_pages_says([Range(0, Parts - 1)] int part) =>
        Try((int)Setting("EMULATOR_MM_SEQUENCES", Sequences) / Parts, part, huge: false);

    [Test]
    public void Huge_pages_never_show([Range(0, 1)] int part) =>
        Try((int)Setting("EMULATOR_MM_SEQUENCES", Sequences) / 40, Parts + part, huge: true);

    [Test]
    public void A_sequence_from_the_environment_passes()
    {
        if (Environment.GetEnvironmentVariable("EMULATOR_MM_REPLAY") is { } replay)
            Assert.That(MmSequence.Run(Script.Parse(replay)), Is.Null);
    }

    private static void Try(int sequences, int part, bool huge)
    {
        // FsCheck's generator counts up: seeds must not be neighbours, or they give the same sequences.
        ulong seed = (Setting("EMULATOR_MM_SEED", 20260101) + (ulong)part) * 0xD134_2543_DE82_EF95, step = 0x9E37_79B9_7F4A_7C15;
        Gen<Script> scripts = Gen.Choose(0, int.MaxValue - 1).ArrayOf(Step.Numbers).ArrayOf(Steps).Select(numbers => Script.From(numbers, huge));
        Config config = Config.QuickThrowOnFailure.WithMaxTest(sequences).WithReplay(seed, step);
        Check.One(config, Prop.ForAll(Arb.From(scripts, static script => script.Shrink()), static script =>
            MmSequence.Run(script) is { } wrong ? throw new AssertionException(wrong) : true));
    }

    private static ulong Setting(string name, ulong usual) =>
        ulong.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out ulong value) ? value : usual;
}

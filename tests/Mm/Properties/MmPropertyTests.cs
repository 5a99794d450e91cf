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
    private const int Steps = 30, Sequences = 10_000, Parts = 8;
    private const ulong Golden = 0x9E37_79B9_7F4A_7C15;

    /// <summary>In parts, which run at the same time.</summary>
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    [TestCase(5)]
    [TestCase(6)]
    [TestCase(7)]
    public void Random_operations_leave_what_a_plain_table_of_pages_says(int part)
    {
        if (Environment.GetEnvironmentVariable("EMULATOR_MM_REPLAY") is { } replay)
        {
            Assert.That(part == 0 ? MmSequence.Run(Script.Parse(replay)) : null, Is.Null);
            return;
        }
        int sequences = (int)Setting("EMULATOR_MM_SEQUENCES", Sequences) / Parts;
        // FsCheck's generator counts up: seeds that are neighbours give the same sequences.
        ulong seed = (Setting("EMULATOR_MM_SEED", 20260101) + (ulong)part) * 0xD134_2543_DE82_EF95;
        Gen<Script> scripts = Gen.Choose(0, int.MaxValue - 1).ArrayOf(Step.Numbers).ArrayOf(Steps).Select(Script.From);
        Config config = Config.QuickThrowOnFailure.WithMaxTest(sequences).WithReplay(seed, Golden);
        Check.One(config, Prop.ForAll(Arb.From(scripts, static script => script.Shrink()), static script =>
            MmSequence.Run(script) is { } wrong ? throw new AssertionException(wrong) : true));
    }

    private static ulong Setting(string name, ulong usual) =>
        ulong.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out ulong value) ? value : usual;
}

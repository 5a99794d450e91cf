using System.Collections.Concurrent;
using System.Globalization;
using System.Text.RegularExpressions;
using Emulator.Hardware.Cpu;
using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>
/// Every implemented form of every instruction, run by the interpreter and by the host's processor from the same states.
/// EMULATOR_SILICON_SEED and EMULATOR_SILICON_COUNT choose the states and how many of them each form gets; EMULATOR_SILICON_ONLY is a regular
/// expression for the mnemonics.
/// </summary>
internal sealed class SiliconTests
{
    private const int DefaultCount = 200, FormsPerCode = 20, ShownFailures = 3, ShownCodes = 12;

    private static readonly ulong Seed = Setting("EMULATOR_SILICON_SEED", 1);
    private static readonly int Count = (int)Math.Min(Setting("EMULATOR_SILICON_COUNT", DefaultCount), 10_000_000);

    private static readonly string Only = Environment.GetEnvironmentVariable("EMULATOR_SILICON_ONLY") ?? "";

    private static readonly ConcurrentBag<SiliconPair> Idle = [];

    private static ulong Setting(string name, ulong otherwise)
        => ulong.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out var value) ? value : otherwise;

    [OneTimeTearDown]
    public static void Stop()
    {
        foreach (var pair in Idle)
            pair.Dispose();
    }

    private static IEnumerable<TestCaseData> Mnemonics()
        => SupportedForms.All.GroupBy(code => code.Mnemonic()).Where(group => Regex.IsMatch(group.Key.ToString(), Only, RegexOptions.None, TimeSpan.FromSeconds(1))).OrderBy(group => group.Key.ToString(), StringComparer.Ordinal)
            .Select(group => new TestCaseData(group.ToArray()).SetArgDisplayNames(group.Key.ToString()));

    [TestCaseSource(nameof(Mnemonics))]
    public void The_interpreter_agrees_with_the_processor(Code[] codes)
    {
        if (SiliconHost.Unsupported is { } reason)
            Assert.Ignore(reason);
        if (Idle.TryTake(out var pair))
            pair.Unpark();
        else
            pair = new SiliconPair();
        var failures = new List<string>();
        try
        {
            foreach (var code in codes)
            {
                if (Exclusions.Reason(code) is null && HostHas(code))
                    Compare(pair, code, failures);
            }
            pair.Park();
            Idle.Add(pair);
        }
        catch
        {
            pair.Dispose();
            throw;
        }
        if (failures.Count != 0)
            Assert.Fail($"{string.Join("\n\n", failures.Take(ShownCodes))}\n\nreplay with EMULATOR_SILICON_SEED={Seed} EMULATOR_SILICON_COUNT={Count}");
    }

    /// <summary>EMULATOR_SILICON_SEQUENCES chooses how many.</summary>
    [Test]
    public void The_interpreter_agrees_with_the_processor_on_sequences([Range(0, 7)] int part)
    {
        if (SiliconHost.Unsupported is { } reason)
            Assert.Ignore(reason);
        const int states = 12;
        var random = new SeededRandom(Seed * 0x1_0001 + (ulong)part);
        var generator = new SequenceGenerator(random);
        var shown = new List<string>();
        int failed = 0, sequences = (int)Math.Min(Setting("EMULATOR_SILICON_SEQUENCES", 8000), 100_000_000) / 8;
        using var pair = new SiliconPair(watched: (part & 1) != 0);
        for (var i = 0; i < sequences; i++)
            failed += pair.Compare(generator.Next(), states, random, ShownFailures - shown.Count, shown);
        Assert.That(failed, Is.Zero, $"{string.Join("\n", shown)}\nreplay with EMULATOR_SILICON_SEED={Seed} EMULATOR_SILICON_SEQUENCES={sequences * 8}");
    }

    /// <summary>EMULATOR_SILICON_COUNT chooses how many states each two instructions get.</summary>
    [Test]
    public void The_interpreter_agrees_with_the_processor_on_instructions_that_share_a_handler([Range(0, 23)] int first)
    {
        if (SiliconHost.Unsupported is { } reason)
            Assert.Ignore(reason);
        const int forms = 8;
        var random = new SeededRandom(Seed * 0x1_0001 + (ulong)first);
        var generator = new PairGenerator(random);
        var shown = new List<string>();
        var failed = 0;
        using var pair = new SiliconPair();
        foreach (var second in PairGenerator.Seconds)
        {
            for (var i = 0; i < forms; i++)
                failed += pair.Compare(generator.Next(PairGenerator.Firsts[first], second), Math.Min(Count / forms, MaxCases), random, ShownFailures - shown.Count, shown);
        }
        Assert.That(failed, Is.Zero, $"{string.Join("\n", shown)}\nreplay with EMULATOR_SILICON_SEED={Seed} EMULATOR_SILICON_COUNT={Count}");
    }

    [Test]
    public void Every_implemented_form_is_compared_or_excluded_with_a_reason()
    {
        var missing = new List<Code>();
        foreach (var code in SupportedForms.All)
        {
            var compared = new InstructionFormGenerator(new SeededRandom(Seed ^ (ulong)code)).Generate(code, 4).Count != 0;
            if (!compared && Exclusions.Reason(code) is null)
                missing.Add(code);
        }
        Assert.That(missing, Is.Empty);
    }

    private static bool HostHas(Code code) => code.CpuidFeatures().All(HostFeatures.Has);

    private static void Compare(SiliconPair pair, Code code, List<string> failures)
    {
        var random = new SeededRandom((Seed * 0x1_0001) ^ (ulong)code);
        var forms = new InstructionFormGenerator(random).Generate(code, Math.Min(FormsPerCode, Count));
        if (forms.Count == 0)
        {
            failures.Add($"{code}: no instruction could be made");
            return;
        }
        var states = (Count + forms.Count - 1) / forms.Count;
        int failed = 0, run = 0;
        var shown = new List<string>();
        foreach (var form in forms)
        {
            for (var done = 0; done < states; done += MaxCases)
            {
                var batch = Math.Min(MaxCases, states - done);
                run += batch;
                failed += pair.Compare(form, batch, random, ShownFailures - shown.Count, shown);
            }
        }
        if (failed != 0)
            failures.Add($"{code}: {failed} of {run} cases differ\n{string.Join("\n", shown)}");
    }
}

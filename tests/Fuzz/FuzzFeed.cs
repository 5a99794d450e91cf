using System.Diagnostics;
using System.Globalization;
using System.Text;
using Emulator.Kernel;

namespace Emulator.Tests.Fuzz;

/// <summary>Drives batches of cases through machines until a number of cases has been executed, and says how to see a failure again.</summary>
internal static class FuzzFeed
{
    private const int BatchSize = 400;

    /// <summary>What looking for the least cases that fail may take: where they hang, each run takes the machine's patience.</summary>
    private const int ShrinkRuns = 60;
    private static readonly TimeSpan ShrinkTime = TimeSpan.FromMinutes(1);

    /// <param name="shard">Which of the feed's parts: it decides the seeds.</param>
    /// <param name="quota">Cases to execute: those that no machine came to do not count.</param>
    /// <param name="generate">Makes a batch's cases from its seed.</param>
    /// <param name="options">What <see cref="FuzzMachines.Vary"/> begins with.</param>
    public static void Run(int shard, long quota, Func<FuzzWorld, ulong, int, List<FuzzCase>> generate, MachineOptions options)
    {
        var world = new FuzzWorld();
        using var folder = new FuzzFolder();
        var runner = new FuzzMachine(world, folder);
        long executed = 0;
        for (long batch = 0; executed < quota; batch++)
        {
            ulong seed = FuzzSettings.Replay ?? FuzzSettings.SeedOf(shard, batch);
            List<FuzzCase> cases = generate(world, seed, BatchSize);
            MachineOptions chosen = FuzzMachines.Vary(options, seed);
            executed += RunBatch(runner, cases, chosen);
            if (FuzzSettings.Replay is not null)
                return;
        }
    }

    /// <summary>All cases of a batch, in as many machines as they end.</summary>
    private static int RunBatch(FuzzMachine runner, List<FuzzCase> cases, MachineOptions options)
    {
        int executed = 0;
        List<int> left = [.. Enumerable.Range(0, cases.Count)];
        while (left.Count > 0)
        {
            // A case keeps its place, since its arguments point into the table of all.
            FuzzOutcome outcome = runner.Run(Only(cases, left), options);
            if (outcome.Wrong is { } wrong)
                Fail(runner, cases, left, options, $"{wrong}\n(the machine's end: {outcome.Status})");
            int before = left.Count;
            int last = left.FindLastIndex(i => outcome.Executed[i]);
            executed += left.Count(i => outcome.Executed[i]);
            left.RemoveRange(0, Math.Max(last + 1, 1));
            if (left.Count == before)
                break;
        }
        return executed;
    }

    /// <summary>The batch with nothing but some of its cases: getpid stands for the others.</summary>
    private static List<FuzzCase> Only(List<FuzzCase> cases, List<int> indices)
    {
        const int GetPid = 39;
        var wanted = new HashSet<int>(indices);
        return [.. cases.Select((c, i) => wanted.Contains(i) ? c : new FuzzCase(GetPid, new ulong[6], c.Blob))];
    }

    private static void Fail(FuzzMachine runner, List<FuzzCase> cases, List<int> failing, MachineOptions options, string wrong)
    {
        List<int> least = Shrink(runner, cases, failing, options);
        var text = new StringBuilder();
        text.AppendLine(wrong);
        text.AppendLine(CultureInfo.InvariantCulture, $"seed {options.Seed}, {FuzzMachines.Describe(options)}; {least.Count} of {cases.Count} cases are enough:");
        foreach (int i in least.Take(40))
            text.AppendLine(CultureInfo.InvariantCulture, $"  {i}: {cases[i]}");
        text.AppendLine(CultureInfo.InvariantCulture, $"again, alone: EMULATOR_FUZZ_REPLAY={options.Seed} dotnet test -c Release tests --filter FullyQualifiedName~{TestContext.CurrentContext.Test.ClassName}.{TestContext.CurrentContext.Test.MethodName}");
        Assert.Fail(text.ToString());
    }

    /// <summary>Leaves out cases as long as what is left still fails: halves, then smaller parts.</summary>
    private static List<int> Shrink(FuzzMachine runner, List<FuzzCase> cases, List<int> failing, MachineOptions options)
    {
        List<int> least = failing;
        int runs = 0;
        long start = Stopwatch.GetTimestamp();
        bool MayGoOn() => runs < ShrinkRuns && Stopwatch.GetElapsedTime(start) < ShrinkTime;
        for (int part = least.Count / 2; part > 0 && MayGoOn(); part /= 2)
        {
            for (int at = 0; at < least.Count && MayGoOn();)
            {
                List<int> without = [.. least.Take(at), .. least.Skip(at + part)];
                runs++;
                if (without.Count > 0 && runner.Run(Only(cases, without), options).Wrong is not null)
                    least = without;
                else
                    at += part;
            }
        }
        return least;
    }
}

using Emulator.Kernel;
using Emulator.Kernel.Loader;
using Emulator.Tests.Loader;
using Emulator.Tests.Mm;

namespace Emulator.Tests.Fuzz;

/// <summary>Files that are almost programs: refused with an error, or loaded and run as far as they go.</summary>
[Platform("Linux")]
public sealed class ElfFuzzTests
{
    private const int FirstSeed = 96, LoadShards = 2, RunShards = 2, LoadShare = 16_000, RunShare = 2_000, FilesPerStand = 1000;

    [Test]
    public void A_changed_program_is_loaded_or_refused_and_leaves_no_frame([Range(0, LoadShards - 1)] int shard)
    {
        long quota = FuzzSettings.Quota(LoadShare, LoadShards), batch = 0;
        for (long done = 0; done < quota; done += FilesPerStand, batch++)
        {
            using var stand = new MemoryStand(bytes: 32 << 20, check: false);
            ulong seed = FuzzSettings.Replay ?? FuzzSettings.SeedOf(FirstSeed + shard, batch);
            var random = new Random(unchecked((int)(seed * 1_000_003)));
            // The first program brings in what all share, the pages of the vDSO for example.
            ProgramBuilder.Load(stand, ProgramBuilder.Static(), out _)!.Mm.Put(null);
            for (int i = 0; i < Math.Min(FilesPerStand, quota - done); i++)
                LoadOne(stand, ElfMutator.Next(random), ElfMutator.Next(random), seed, i);
            if (FuzzSettings.Replay is not null)
                return;
        }
    }

    private static void LoadOne(MemoryStand stand, byte[] program, byte[] interpreter, ulong seed, int number)
    {
        long frames = stand.Pages.UsedFrames, tables = stand.Pages.TableFrames;
        try
        {
            LoadedProgram? loaded = ProgramBuilder.Load(stand, program, out LoadError? error, files: new(StringComparer.Ordinal) { ["/ro/file"] = interpreter, ["/lib64/ld-linux-x86-64.so.2"] = interpreter });
            Assert.That(error is null, Is.EqualTo(loaded is not null), "either a program or an error");
            loaded?.Mm.Put(null);
            Assert.That((stand.Pages.UsedFrames, stand.Pages.TableFrames), Is.EqualTo((frames, tables)), "frames and tables");
        }
#pragma warning disable CA1031 // Whatever escapes is what the suite looks for.
        catch (Exception e) when (e is not SuccessException)
#pragma warning restore CA1031
        {
            Fail(seed, number, program, e.ToString());
        }
    }

    [Test]
    public void A_changed_program_runs_as_far_as_it_goes([Range(0, RunShards - 1)] int shard)
    {
        using var folder = new FuzzFolder();
        long quota = FuzzSettings.Quota(RunShare, RunShards);
        for (long i = 0; i < quota; i++)
        {
            ulong seed = FuzzSettings.Replay ?? FuzzSettings.SeedOf(FirstSeed + LoadShards + shard, i);
            byte[] image = ElfMutator.Next(new Random(unchecked((int)(seed * 1_000_003))));
            if (RunOne(folder, image, seed) is { } wrong)
                Fail(seed, 0, image, wrong);
            if (FuzzSettings.Replay is not null)
                return;
        }
    }

    private static string? RunOne(FuzzFolder folder, byte[] image, ulong seed)
    {
        string program = folder.Write(image);
        try
        {
            using var machine = new Machine(new MachineOptions
            {
                MemoryBytes = 16 << 20,
                Deterministic = true,
                Seed = seed,
                MaxInstructions = 50_000,
                Timeout = TimeSpan.FromSeconds(60),
                Binds = folder.Binds,
                LockDep = true,
                Stdin = -1,
                Stdout = -1,
                Stderr = -1,
            });
            ExitStatus status = machine.Run(program, ["program"u8.ToArray()], []);
            // A program may well wait for ever: then nobody is left to run.
            return status.Reason is ExitReason.NotStarted or ExitReason.Deadlock ? null : FuzzMachine.Judge(machine, status);
        }
#pragma warning disable CA1031 // Whatever escapes is what the suite looks for.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return $"an exception escaped the machine: {e}";
        }
        finally
        {
            File.Delete(program);
        }
    }

    private static void Fail(ulong seed, int number, byte[] image, string wrong)
    {
        string path = Path.Combine(Path.GetTempPath(), $"fuzzed-{seed}-{number}.elf");
        File.WriteAllBytes(path, image);
        Assert.Fail($"seed {seed}, file {number} ({path}): {wrong}\nagain, alone: EMULATOR_FUZZ_REPLAY={seed} dotnet test -c Release tests --filter FullyQualifiedName~{TestContext.CurrentContext.Test.ClassName}.{TestContext.CurrentContext.Test.MethodName}");
    }
}

namespace Emulator.Tests.Guests;

/// <summary>The guests in the repository are what their sources say.</summary>
public sealed class RebuildTests
{
    private static string _folder = "";

    [OneTimeSetUp]
    public static void Build_all_guests()
    {
        if (NativeHost.Find("gcc") is null || NativeHost.Find("objcopy") is null)
            Assert.Ignore("no gcc and objcopy here: the built guests of the repository are all there is");
        _folder = Directory.CreateTempSubdirectory("guests-").FullName;
        GuestRun shell = new("/bin/sh", Path.Combine(GuestPrograms.Root, "guests", "build.sh"), _folder);
        Outcome built = NativeHost.Run(shell);
        Assert.That(built.Status, Is.Zero, built.ToString());
    }

    [OneTimeTearDown]
    public static void Remove_the_folder()
    {
        if (_folder.Length != 0)
            Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void Every_program_has_its_built_file_in_the_repository()
    {
        Assert.That(GuestPrograms.Names.Where(name => !File.Exists(Path.Combine(GuestPrograms.Built, name + ".elf"))), Is.Empty);
    }

    [Test]
    public void A_fresh_build_runs_as_the_committed_one_does([Values("hello", "integers", "signals", "fork")] string name)
    {
        GuestRun committed = GuestPrograms.Guest(name);
        GuestRun fresh = committed with { Program = Path.Combine(_folder, name + ".elf") };
        Outcome outcome = EmulatedHost.Run(fresh, GuestPrograms.Parallel(2));
        outcome.AssertIs(EmulatedHost.Run(committed, GuestPrograms.Parallel(2)));
        Assert.That(outcome.Status, Is.Zero);
    }

    [Test]
    public void Building_twice_gives_the_same_bytes()
    {
        string again = Directory.CreateTempSubdirectory("guests-again-").FullName;
        try
        {
            NativeHost.Run(new GuestRun("/bin/sh", Path.Combine(GuestPrograms.Root, "guests", "build.sh"), again));
            foreach (string name in GuestPrograms.Names)
                Assert.That(File.ReadAllBytes(Path.Combine(again, name + ".elf")), Is.EqualTo(File.ReadAllBytes(Path.Combine(_folder, name + ".elf"))), name);
        }
        finally
        {
            Directory.Delete(again, recursive: true);
        }
    }
}

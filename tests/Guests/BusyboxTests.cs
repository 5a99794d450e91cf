namespace Emulator.Tests.Guests;

/// <summary>Debian's static busybox: its shell and its applets, each in a folder of its own, as on the host.</summary>
public sealed class BusyboxTests
{
    private static readonly string? Busybox = NativeHost.IsLinux64 ? NativeHost.Find("busybox") : null;

    public static IEnumerable<TestCaseData> Scripts() =>
        BusyboxScripts.Shell.Concat(BusyboxScripts.Applets).Select(script => new TestCaseData(script.Text).SetArgDisplayNames(script.Name));

    [TestCaseSource(nameof(Scripts))]
    public void A_script_gives_what_it_gives_on_the_host(string script)
    {
        if (Busybox is null)
            Assert.Ignore("no busybox here (Debian: apt-get install busybox-static)");
        DirectoryInfo native = Directory.CreateTempSubdirectory("busybox-"), twin = Directory.CreateTempSubdirectory("busybox-");
        try
        {
            // With no PATH to search, the shell runs its own applets.
            GuestRun run = new(Busybox!, "sh", "-c", script)
            {
                Environment = ["PATH=/nowhere", "HOME=/", "LC_ALL=C", "TZ=UTC"],
                Input = "input line 1\ninput line 2\n",
                Directory = native.FullName,
                Twin = twin.FullName,
            };
            Outcome expected = NativeHost.Run(run);
            EmulatedHost.Run(run, GuestPrograms.Parallel(2)).AssertIs(expected);
        }
        finally
        {
            native.Delete(recursive: true);
            twin.Delete(recursive: true);
        }
    }
}

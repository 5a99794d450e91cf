namespace Emulator.Tests.Guests;

/// <summary>Busybox applet by applet, from the table in applets.txt: output, status and files as on the host.</summary>
[TestFixture, Parallelizable(ParallelScope.All)]
public sealed class AppletTests
{
    private static readonly string? Busybox = NativeHost.IsLinux64 ? NativeHost.Find("busybox") : null;

    /// <summary>What this build of busybox has.</summary>
    private static readonly HashSet<string> Present =
        Busybox is null ? [] : [.. NativeHost.Run(new GuestRun(Busybox, "--list")).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)];

    private static IEnumerable<(string Applet, string Script)> Table =>
        from line in File.ReadLines(Path.Combine(GuestPrograms.Root, "tests", "Guests", "applets.txt"))
        where !line.StartsWith('#')
        let columns = line.Split(' ', 2)
        select (columns[0], columns[1]);

    public static IEnumerable<TestCaseData> Scripts() =>
        from row in Table
        where !row.Script.StartsWith("- ", StringComparison.Ordinal)
        select new TestCaseData(row.Applet, row.Script).SetArgDisplayNames(row.Applet);

    [TestCaseSource(nameof(Scripts))]
    public void An_applet_gives_what_it_gives_on_the_host(string applet, string script)
    {
        if (!Present.Contains(applet))
            Assert.Ignore("no busybox with this applet here (Debian: apt-get install busybox-static)");
        DirectoryInfo native = Directory.CreateTempSubdirectory("applet-"), twin = Directory.CreateTempSubdirectory("applet-");
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
            Assert.That(Contents(twin), Is.EqualTo(Contents(native)), "what is in the folder afterwards");
        }
        finally
        {
            native.Delete(recursive: true);
            twin.Delete(recursive: true);
        }
    }

    [Test]
    public void Every_applet_of_this_busybox_is_in_the_table()
    {
        string[] missing = [.. Present.Except(Table.Select(row => row.Applet), StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        Assert.That(missing, Is.Empty, "applets of another version than the table was written for want a line there");
    }

    /// <summary>Name, kind, rights and bytes of everything in a folder, in order of the names.</summary>
    private static IEnumerable<string> Contents(DirectoryInfo folder) => folder.EnumerateFileSystemInfos("*", SearchOption.AllDirectories)
        .OrderBy(entry => entry.FullName, StringComparer.Ordinal)
        .Select(entry => $"{Path.GetRelativePath(folder.FullName, entry.FullName)} {entry.Attributes & FileAttributes.Directory} {Rights(entry)} {Body(entry)}");

    private static UnixFileMode Rights(FileSystemInfo entry) => OperatingSystem.IsWindows() || entry.LinkTarget is not null ? UnixFileMode.None : entry.UnixFileMode;

    private static string Body(FileSystemInfo entry) => entry switch
    {
        { LinkTarget: { } target } => "-> " + target,
        FileInfo { Attributes: FileAttributes.Normal or FileAttributes.None, Length: > 0 } file => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file.FullName))),
        _ => "",
    };
}

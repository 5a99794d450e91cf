using System.Diagnostics;
using Emulator.Kernel;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Files;

/// <summary>Some four hundred calls, most of them wrong in some way: results and errors must be those of the host's kernel.</summary>
[Platform("Linux")]
public sealed class HostComparisonTests
{
    private DirectoryInfo _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("errnos-");

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    [Test]
    public void Errors_are_those_of_the_host()
    {
        string program = Path.Combine(_folder.FullName, "errnos");
        string source = Path.Combine(GuestPrograms.Root, "tests", "Files", "c", "errnos.c");
        Assume.That(TryCompile(source, program), "gcc with a static C library is needed");
        string native = _folder.CreateSubdirectory("native").FullName, twin = _folder.CreateSubdirectory("twin").FullName;
        var run = new GuestRun(program) { Directory = native, Twin = twin };
        Outcome reference = NativeHost.Reference(run);
        Assume.That(reference.Status, Is.Not.EqualTo(Outcome.TimedOut));
        EmulatedHost.Run(run, new MachineOptions { Vcpus = 2 }).AssertIs(reference);
    }

    private static bool TryCompile(string source, string program)
    {
        try
        {
            using Process? gcc = Process.Start(new ProcessStartInfo("gcc", ["-O1", "-w", "-static", "-o", program, source]) { RedirectStandardError = true, UseShellExecute = false });
            gcc!.StandardError.ReadToEnd();
            gcc.WaitForExit();
            return gcc.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}

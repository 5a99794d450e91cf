using System.Globalization;
using Emulator.Kernel;

namespace Emulator.Tests.Guests;

/// <summary>What one machine after another took, seen from inside a process that does nothing else: other tests would count too.</summary>
/// <param name="Status">The guest's.</param>
/// <param name="Frames">Frames in use when the guest's last process is gone.</param>
/// <param name="Tables">Page-table frames in use then.</param>
/// <param name="Descriptors">The host process's descriptors afterwards; zero where the host does not say.</param>
/// <param name="Threads">The host process's threads afterwards.</param>
public sealed record ResourceProbe(int Status, long Frames, long Tables, int Descriptors, int Threads)
{
    /// <summary>Runs each of these guests in a machine of its own, in a child process.</summary>
    public static IReadOnlyList<ResourceProbe> InChild(params string[][] guests)
    {
        string[] arguments = [.. guests.Select(words => string.Join(' ', words))];
        Outcome outcome = NativeHost.Run(new("") { Timeout = TimeSpan.FromMinutes(5) }, NativeHost.Find("dotnet") ?? Environment.ProcessPath!,
            [typeof(ResourceProbe).Assembly.Location, .. arguments]);
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        return [.. outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Parse)];
    }

    /// <summary>The child's part: a line for each guest, given by its name and arguments with blanks between them.</summary>
    public static IEnumerable<string> Run(IEnumerable<string> guests)
    {
        foreach (string guest in guests)
        {
            string[] words = guest.Split(' ');
            (long frames, long tables) = (-1, -1);
            Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest(words[0], words[1..]), GuestPrograms.Parallel(1), machine =>
                (frames, tables) = (machine.Pages.UsedFrames, machine.Pages.TableFrames));
            GC.Collect();
            GC.WaitForPendingFinalizers();
            (int descriptors, int threads) = OperatingSystem.IsLinux()
                ? (Directory.GetFiles("/proc/self/fd").Length, Directory.GetDirectories("/proc/self/task").Length) : (0, 0);
            yield return string.Create(CultureInfo.InvariantCulture, $"{outcome.Status} {frames} {tables} {descriptors} {threads}");
        }
    }

    private static ResourceProbe Parse(string line)
    {
        long[] numbers = [.. line.Split(' ').Select(word => long.Parse(word, CultureInfo.InvariantCulture))];
        return new((int)numbers[0], numbers[1], numbers[2], (int)numbers[3], (int)numbers[4]);
    }
}

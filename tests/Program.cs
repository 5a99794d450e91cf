using Emulator.Tests.Guests;

namespace Emulator.Tests;

/// <summary>The test assembly as a program: what a test must measure in a process of its own. The test runner does not come here.</summary>
internal static class Program
{
    private static int Main(string[] arguments)
    {
        foreach (string line in ResourceProbe.Run(arguments))
            Console.WriteLine(line);
        return 0;
    }
}

using Emulator.Tests.Cli;
using Emulator.Tests.Guests;

namespace Emulator.Tests;

/// <summary>The test assembly as a program: what a test must measure in a process of its own. The test runner does not come here.</summary>
internal static class Program
{
    private static int Main(string[] arguments)
    {
        if (arguments is [FailingEmulator.Word, var where, .. var rest])
            return FailingEmulator.Run(where, rest);
        foreach (string line in arguments is [Fuzz.FuzzLeakTests.Word] ? Fuzz.FuzzLeakTests.Run() : ResourceProbe.Run(arguments))
            Console.WriteLine(line);
        return 0;
    }
}

namespace Emulator.Cli;

/// <summary>
/// Exit statuses of our own, in the band that env(1) and timeout(1) use. Any other status is the guest's; a guest killed by a
/// signal is seen as killed by that signal.
/// </summary>
internal static class ExitCodes
{
    /// <summary>--timeout or --max-instructions ended the run.</summary>
    public const int TimedOut = 124;
    /// <summary>The emulator failed: wrong usage, a host resource, a fault of its own, or what --unsupported=fail stops at.</summary>
    public const int OurFailure = 125;
    /// <summary>The program was found but cannot be executed.</summary>
    public const int CannotExecute = 126;
    public const int NotFound = 127;
}

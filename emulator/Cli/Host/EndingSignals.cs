using System.Runtime.InteropServices;

namespace Emulator.Cli.Host;

/// <summary>
/// Ends the process by the signals that end programs, for commands whose guests are not to hear of them. Left to themselves they would end it as well,
/// but by way of the runtime's handler, which tidies up on whatever thread the signal interrupts, with whatever locks that holds.
/// </summary>
internal sealed class EndingSignals : IDisposable
{
    private static readonly int[] Ending = [1, 2, 3, 15];

    private readonly PosixSignalRegistration[] _registrations = [.. Ending.Select(signal => PosixSignalRegistration.Create((PosixSignal)signal, context =>
    {
        context.Cancel = true;
        _ = HostProcess.DieBy(signal);
    }))];

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
    }
}

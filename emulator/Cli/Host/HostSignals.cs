using System.Runtime.InteropServices;
using Emulator.Kernel;

namespace Emulator.Cli.Host;

/// <summary>
/// Passes the signals that the terminal and other processes send us on to the guest, which decides what they do. A guest that the
/// terminal stops stops us too, so that job control of the shell outside works.
/// </summary>
internal sealed class HostSignals : IDisposable
{
    private const int Continue = 18;

    private static readonly int[] Forwarded = [1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, 28];

    private readonly List<PosixSignalRegistration> _registrations = [];

    public HostSignals(Machine machine)
    {
        // Whether we were continued or the host refused to stop us: the guest goes on.
        machine.WhenStopped = () =>
        {
            HostProcess.Stop();
            machine.Interrupt(Continue);
        };
        foreach (int signal in Forwarded)
        {
            try
            {
                _registrations.Add(PosixSignalRegistration.Create((PosixSignal)signal, context =>
                {
                    context.Cancel = true;
                    machine.Interrupt(signal);
                }));
            }
            catch (PlatformNotSupportedException)
            {
                // A host without this signal sends none.
            }
        }
    }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
    }
}

namespace Emulator.Kernel.Mirrors;

/// <summary>One of the devices /dev/hmm_dmirror* (dmirror_device).</summary>
/// <param name="machine">The machine it is in.</param>
internal sealed class DmirrorDevice(Machine machine)
{
    /// <summary>How many there are (DMIRROR_NDEVICES).</summary>
    public const int Count = 4;

    public Machine Machine { get; } = machine;
}

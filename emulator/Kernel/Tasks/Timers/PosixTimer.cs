namespace Emulator.Kernel.Tasks;

/// <summary>A timer of timer_create.</summary>
internal sealed class PosixTimer;

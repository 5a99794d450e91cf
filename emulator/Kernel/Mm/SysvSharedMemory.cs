namespace Emulator.Kernel.Memory;

/// <summary>System V shared memory segments of a machine (ipc/shm.c).</summary>
public sealed class SysvSharedMemory;

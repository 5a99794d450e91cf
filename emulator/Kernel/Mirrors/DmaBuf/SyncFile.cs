using Emulator.Kernel.Files;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>Fences as a descriptor that a program can wait for with poll (drivers/dma-buf/sync_file.c).</summary>
internal sealed class SyncFile : OpenFile
{
    private readonly WaitQueue _signalled = new();

    public SyncFile(DmaFence[] fences)
        : base(FileAbi.O_RDWR)
    {
        Fences = fences;
        foreach (DmaFence fence in fences)
            fence.Listen(_signalled);
    }

    public DmaFence[] Fences { get; }

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(_signalled);
        return Array.TrueForAll(Fences, static f => f.IsSignalled) ? PollEvents.Readable : 0;
    }

    protected override void Release()
    {
        foreach (DmaFence fence in Fences)
            fence.Ignore(_signalled);
    }
}

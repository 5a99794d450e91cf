using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims;

/// <summary>Frames that find a new owner.</summary>
internal static class Reuse
{
    /// <summary>What the new owner writes.</summary>
    public const byte Secret = 0x5E;

    /// <summary>More than any scenario frees.</summary>
    private const int MostPages = 12_000;

    /// <summary>Lets somebody allocate pages and write a secret to them until a freed frame is among them. Whoever reads the secret reads another owner's memory.</summary>
    /// <exception cref="InconclusiveException">The frame has not been freed, or nobody gets it.</exception>
    public static void Take(Stage stage, Actor stranger, FrameTag frame)
    {
        Claim.Require(stage.IsFreed(frame), $"{frame} was not freed");
        ulong at = stranger.Map(MostPages);
        bool got = stranger.Ask(task =>
        {
            for (ulong page = at; page < at + (MostPages << Pfn.Shift); page += Pfn.Size)
            {
                if (task.TryWrite(page, Secret) && task.Mm.TryWalk(page, write: false, out Pfn now) && now == frame.Frame)
                    return true;
            }
            return false;
        });
        Claim.Require(got, $"nobody gets {frame}");
        stage.Evidence.Add($"{frame} is freed, and now {stranger.Name}'s, who writes {Secret} to it");
    }
}

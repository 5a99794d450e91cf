namespace Emulator.Claims;

/// <summary>Frames that find a new owner.</summary>
internal static class Reuse
{
    /// <summary>What the new owner writes.</summary>
    public const byte Secret = 0x5E;

    /// <summary>Lets somebody allocate pages and write a secret to them until a freed frame is among them. Whoever reads the secret reads another owner's memory.</summary>
    /// <exception cref="InconclusiveException">The frame has not been freed, or nobody gets it.</exception>
    public static void Take(Stage stage, Actor stranger, FrameTag frame)
    {
        Claim.Require(stage.IsFreed(frame), $"{frame} was not freed");
        ulong at = stranger.Map(64);
        for (ulong page = at; page < at + (64 << 12); page += 4096)
        {
            stranger.Write(page, Secret);
            if (Memory.Tag(stage, stranger.Mm, page).Frame == frame.Frame)
            {
                stage.Evidence.Add($"{frame} is freed, and now {stranger.Name}'s, who writes {Secret} to it");
                return;
            }
        }
        throw new InconclusiveException($"nobody gets {frame}");
    }
}

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>Nobody is told. Every change leaves every sharer with what it had.</summary>
internal sealed class NonePolicy : SharedFlushPolicy
{
    public override string Name => "none";

    public override bool IsSound => false;

    public override string Summary => "broken: flush nothing";

    public override string Source => "nobody's; the cover letter of RFC v3 (Anthony Yznaga, 3 September 2024) names proper flushing as the major issue left";

    public override string Price => "nothing";

    public override string Limits => "every vCPU that has used a page goes on using its frame after it was freed";

    internal override void Flush(in SharedFlush flush)
    {
    }
}

namespace Emulator.Kernel.Checker;

/// <summary>What <c>--check</c> finds, as reports name it.</summary>
public static class CheckerRules
{
    public const string FreedFrame = "corruption: freed frame used through a cached translation";

    public const string FreedTable = "corruption: freed page table walked";

    public const string Stale = "stale: translation used after its flush was done";
}

namespace Emulator.Cli.Reports;

/// <summary>What reports say of the run as a whole.</summary>
/// <param name="Replay">The words of the command that shows it again.</param>
internal sealed record RunFacts(bool Deterministic, ulong Seed, int Vcpus, IReadOnlyList<string> Replay)
{
    public string ReplayLine => Reports.ReplayLine.Write(Replay, Deterministic);
}

namespace Emulator.Claims;

/// <summary>What came out of trying a claim.</summary>
public enum Verdict
{
    True,

    False,

    /// <summary>True under a condition that the claim does not state; the evidence has both sides.</summary>
    Partly,

    /// <summary>A control failed: the scenario could not have seen the opposite, so it has shown nothing.</summary>
    Inconclusive,
}

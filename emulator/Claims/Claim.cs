namespace Emulator.Claims;

/// <summary>
/// Something that somebody said about Linux's secondary MMUs, and a scenario that tries it out. Scenarios run machines and observe them: a verdict follows from
/// what was seen, and is <see cref="Verdict.Inconclusive"/> when a control shows that the opposite could not have been seen.
/// </summary>
/// <remarks>In bounds: the numbers in a scenario are its own, also where it points into tables; programs of guests run in it as in any machine.</remarks>
public abstract class Claim
{
    /// <summary>A number, or a number and a letter: <c>3</c>, <c>42b</c>.</summary>
    public abstract string Number { get; }

    /// <summary>A short name in words joined by hyphens.</summary>
    public abstract string Name { get; }

    /// <summary>The claim itself, as one sentence.</summary>
    public abstract string Text { get; }

    /// <summary>Who said it, and where.</summary>
    public abstract string Source { get; }

    public abstract Verdict Expected { get; }

    /// <summary>Why the verdict is what it is, in one or two sentences.</summary>
    public abstract string Reason { get; }

    /// <summary>Tries it.</summary>
    /// <param name="evidence">Where what is seen is written down; also makes the machines.</param>
    protected abstract Verdict Try(Evidence evidence);

    /// <summary>Tries the claim; whatever goes wrong makes the verdict inconclusive.</summary>
    /// <param name="seed">Of the machines' schedulers. The verdict must not depend on it.</param>
    public ClaimResult Run(ulong seed = 0)
    {
        var evidence = new Evidence(seed);
        Verdict verdict;
        try
        {
            verdict = Try(evidence);
        }
        catch (InconclusiveException e)
        {
            verdict = Verdict.Inconclusive;
            evidence.Case("inconclusive").Add(e.Message);
        }
        return new ClaimResult(this, verdict, evidence);
    }

    /// <summary>A control, or a step that the scenario needs: without it nothing is shown.</summary>
    /// <exception cref="InconclusiveException">It does not hold.</exception>
    protected internal static void Require(bool holds, string otherwise)
    {
        if (!holds)
            throw new InconclusiveException(otherwise);
    }

    /// <summary>True or false.</summary>
    protected static Verdict Judge(bool holds) => holds ? Verdict.True : Verdict.False;

    /// <summary>The claim holds in one case and not in the other.</summary>
    protected static Verdict Judge(bool holdsHere, bool holdsThere) => holdsHere == holdsThere ? Judge(holdsHere) : Verdict.Partly;
}

/// <summary>What trying a claim gave.</summary>
public sealed record ClaimResult(Claim Claim, Verdict Verdict, Evidence Evidence)
{
    public bool IsAsExpected => Verdict == Claim.Expected;
}

/// <summary>A scenario's control failed.</summary>
public sealed class InconclusiveException : Exception
{
    public InconclusiveException()
    {
    }

    public InconclusiveException(string message)
        : base(message)
    {
    }

    public InconclusiveException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

using Emulator.Claims;
using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator claims</c>: lists what was said about secondary MMUs, or tries it out.</summary>
internal sealed class ClaimsCommand : TableCommand
{
    /// <summary>Some verdict is not the expected one.</summary>
    private const int Unexpected = 1;

    private readonly Option<bool> _all = new("--all") { Description = "run all claims" };
    private readonly Option<bool> _json = new("--json") { Description = "one JSON object a line" };
    private readonly Option<bool> _brief = new("--brief") { Description = "verdicts without evidence" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "seed of the machines' schedulers; no verdict depends on it", HelpName = "S" };

    public ClaimsCommand()
        : base("claims") => Declare("""
            Claims about Linux's secondary MMUs as scenarios.

            Usage: emulator claims list [--json]       what was claimed, by whom, and the verdict that is expected
                   emulator claims run 3 5 7           try these, by numbers or names, on machines made for them
                   emulator claims run --all           the exit status is 1 if a verdict is not the expected one
            """, _all, _json, _brief, _seed);

    protected override int Run(ParseResult parsed, Palette palette)
    {
        using var signals = new EndingSignals();
        return parsed.Operands switch
        {
            ["list"] => ListCommand.Write(Listings.Claims, null, parsed.GetValue(_json), palette),
            ["run", ..] => Try(parsed, parsed.Operands[1..], palette),
            _ => CommandLine.UsageError("claims: give list or run"),
        };
    }

    private int Try(ParseResult parsed, List<string> which, Palette palette)
    {
        bool all = parsed.GetValue(_all);
        if (all == which.Count > 0)
            return CommandLine.UsageError(all ? "claims run: give claims or --all, not both" : "claims run: give the numbers of claims, or --all");
        var claims = new List<Claim>();
        foreach (string name in which)
        {
            if (ClaimList.Find(name) is not { } claim)
                return CommandLine.UsageError($"claims run {name}: there is no such claim; 'emulator claims list' shows them");
            claims.Add(claim);
        }
        if (all)
            claims.AddRange(ClaimList.All);

        int unexpected = 0;
        foreach (Claim claim in claims)
        {
            ClaimResult result = claim.Run(parsed.GetValue(_seed));
            unexpected += result.IsAsExpected ? 0 : 1;
            if (parsed.GetValue(_json))
                Console.Out.WriteLine(ClaimJson.Write(result));
            else
                ClaimReport.Write(result, Console.Out, palette, parsed.GetValue(_brief));
        }
        if (!parsed.GetValue(_json))
            ClaimReport.Summary(claims.Count, unexpected, Console.Out, palette);
        return unexpected == 0 ? 0 : Unexpected;
    }
}

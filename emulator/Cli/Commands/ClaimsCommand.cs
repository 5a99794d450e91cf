using System.CommandLine;
using Emulator.Claims;
using Emulator.Cli.Host;
using Emulator.Cli.Reports;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator claims</c>: lists what was said about secondary MMUs, or tries it out.</summary>
internal sealed class ClaimsCommand
{
    /// <summary>Some verdict is not the expected one.</summary>
    private const int Unexpected = 1;

    private readonly Argument<string[]> _which = new("CLAIM") { Description = "numbers or names", Arity = ArgumentArity.ZeroOrMore };
    private readonly Option<bool> _all = new("--all") { Description = "all claims" };
    private readonly Option<bool> _json = new("--json") { Description = "one JSON object a line" };
    private readonly Option<bool> _brief = new("--brief") { Description = "verdicts without evidence" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "seed of the machines' schedulers; no verdict depends on it", HelpName = "S" };
    private readonly Option<string> _color = new("--color") { Description = "auto, always or never", HelpName = "WHEN", DefaultValueFactory = _ => "auto" };

    public ClaimsCommand()
    {
        var list = new Command("list", "what was claimed, by whom, and the verdict that is expected") { _json, _color };
        var run = new Command("run", "try claims on machines made for them; the exit status is 1 if a verdict is not the expected one") { _which, _all, _json, _brief, _seed, _color };
        list.SetAction(parsed => Carefully(parsed, List));
        run.SetAction(parsed => Carefully(parsed, Run));
        Verb = new Command("claims", "Claims about Linux's secondary MMUs as scenarios: emulator claims list, emulator claims run 3 5 7, emulator claims run --all.") { list, run };
        Root = new RootCommand { Verb };
    }

    private Command Verb { get; }

    private RootCommand Root { get; }

    /// <param name="args">All arguments, the verb first.</param>
    public int Execute(string[] args)
    {
        ParseResult parsed = Root.Parse(args);
        if (parsed.Errors.Count > 0 && !args.Any(a => a is "--help" or "-h" or "-?"))
            return CommandLine.UsageError(parsed.CommandResult.Command == Verb ? "claims: give list or run" : $"claims: {CommandLine.Plain(parsed.Errors[0])}");
        return parsed.Invoke();
    }

    /// <summary>Carries out an action; one line if the output cannot be written.</summary>
    private int Carefully(ParseResult parsed, Func<ParseResult, Palette, int> action)
    {
        if (!TryPalette(parsed, out Palette? palette))
            return CommandLine.UsageError($"--color {parsed.GetValue(_color)}: give auto, always or never");
        try
        {
            using var signals = new EndingSignals();
            return action(parsed, palette!);
        }
        catch (IOException e)
        {
            return CommandLine.Failure(ExitCodes.OurFailure, $"claims: {e.Message}");
        }
    }

    private bool TryPalette(ParseResult parsed, out Palette? palette)
    {
        string when = parsed.GetValue(_color)!;
        palette = when is "auto" or "always" or "never" ? new Palette(when, HostProcess.StandardOutput) : null;
        return palette is not null;
    }

    private int List(ParseResult parsed, Palette palette) => ListCommand.Write(Listings.Claims, null, parsed.GetValue(_json), palette);

    private int Run(ParseResult parsed, Palette palette)
    {
        string[] which = parsed.GetValue(_which) ?? [];
        bool all = parsed.GetValue(_all);
        if (all == which.Length > 0)
            return CommandLine.UsageError(all ? "claims run: give claims or --all, not both" : "claims run: give the numbers of claims, or --all");
        var claims = new List<Claim>();
        foreach (string name in which)
        {
            if (name.StartsWith('-'))
                return CommandLine.UsageError($"claims run: there is no option {name}");
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

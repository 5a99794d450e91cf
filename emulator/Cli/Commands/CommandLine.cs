using System.CommandLine.Parsing;
using Emulator.Cli.Host;
using Emulator.Cli.Options;

namespace Emulator.Cli.Commands;

/// <summary>The verbs. <c>emulator PROGRAM ...</c> is short for <c>emulator run PROGRAM ...</c>; a program with a verb's name is written as a path.</summary>
internal static class CommandLine
{
    public static int Run(string[] args)
    {
        if (args.Length > 0 && args[0].Equals("claims", StringComparison.Ordinal))
            return new ClaimsCommand().Execute(args);
        (GuestCommand command, int start) = args.FirstOrDefault() switch
        {
            "run" => (new RunCommand(), 1),
            "compare" => (new CompareCommand(), 1),
            _ => ((GuestCommand)new RunCommand(), 0),
        };
        int own = ArgumentSplitter.CountOwn(args, start, command.TakesValue);
        string[] options = args[start..own];
        // The parser must not see the separator: it would take nothing as the guest's.
        if (options.Length > 0 && options[^1].Equals("--", StringComparison.Ordinal))
            options = options[..^1];

        ParseResult parsed = ParseResult.Parse(command.Options, options);
        if (parsed.Error is { } error)
            return UsageError(error);
        if (command.Options.TryAnswer(parsed, Console.Out))
            return 0;
        if (own == args.Length)
            return UsageError("no program given");
        return command.Execute(parsed, args, args.Length - own);
    }

    /// <summary>The library's message, without the names of C# types.</summary>
    public static string Plain(ParseError error)
    {
        if (error.SymbolResult is OptionResult { Tokens.Count: > 0 } option && error.Message.Contains("System.", StringComparison.Ordinal))
            return $"{option.Option.Name} {option.Tokens[0].Value}: not a number";
        return error.Message.StartsWith("Unrecognized command", StringComparison.Ordinal) ? error.Message.Replace("command or argument", "option", StringComparison.Ordinal) : error.Message;
    }

    public static int UsageError(string message)
    {
        HostProcess.WriteError($"emulator: {message.TrimEnd('.').ReplaceLineEndings(" ")}; try 'emulator --help'\n");
        return ExitCodes.OurFailure;
    }

    public static int Failure(int code, string message)
    {
        HostProcess.WriteError($"emulator: {message}\n");
        return code;
    }
}

namespace Emulator.Cli.Commands;

/// <summary>
/// Cuts the arguments at the first operand: what stands before is ours, what follows is the guest's and is never looked at.
/// The parser library alone would take a guest's own <c>--strace</c> for ours.
/// </summary>
internal static class ArgumentSplitter
{
    /// <summary>The number of arguments that are ours, a closing <c>--</c> included.</summary>
    /// <param name="takesValue">Whether an option, named without its value, takes the next argument as its value.</param>
    public static int CountOwn(IReadOnlyList<string> args, int start, Func<string, bool> takesValue)
    {
        int i = start;
        while (i < args.Count)
        {
            string arg = args[i];
            if (arg.Equals("--", StringComparison.Ordinal))
                return i + 1;
            if (arg.Length < 2 || arg[0] != '-')
                return i;
            i++;
            // --name=value and -Xvalue carry their value themselves.
            bool attached = arg[1] == '-' ? arg.Contains('=', StringComparison.Ordinal) : arg.Length > 2;
            if (!attached && takesValue(arg))
                i++;
        }
        return Math.Min(i, args.Count);
    }
}

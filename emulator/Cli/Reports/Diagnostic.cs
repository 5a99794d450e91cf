namespace Emulator.Cli.Reports;

/// <summary>Whose fault it is.</summary>
internal enum Blame
{
    Program,
    Emulator,
    Kernel,
    Size,
    Usage,
}

/// <summary>Something that the emulator says, by a name that never changes.</summary>
/// <param name="Id">EMU- and words.</param>
/// <param name="Title">As reports begin.</param>
/// <param name="Meaning">What happened, in a sentence or two.</param>
/// <param name="Help">What to try.</param>
/// <param name="Options">Options that have to do with it.</param>
internal sealed record Diagnostic(string Id, string Title, Blame Blame, string Meaning, string Help, params string[] Options)
{
    /// <summary>Whose fault it is, in words.</summary>
    public string Fault => Blame switch
    {
        Blame.Program => "the program's: a Linux machine would have answered the same",
        Blame.Emulator => "the emulator's, not the program's",
        Blame.Kernel => "the emulated kernel's, or that of a design that is broken on purpose; not the program's",
        Blame.Size => "nobody's: the run needs more than it was given",
        _ => "the command line's",
    };
}

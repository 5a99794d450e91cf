namespace Emulator.Cli.Host;

/// <summary>Words for what goes wrong with the host's files.</summary>
internal static class HostFiles
{
    /// <summary>Why a file could not be opened, in the words that a shell would use.</summary>
    public static string Reason(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "no such file or directory",
        UnauthorizedAccessException => "permission denied, or a directory",
        ArgumentException => "that is no name of a file",
        _ => e.Message,
    };
}

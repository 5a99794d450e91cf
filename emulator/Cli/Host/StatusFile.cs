namespace Emulator.Cli.Host;

/// <summary>
/// The file of --status-file. It is written beside its place at first and moved there when it is whole, so that nobody reads half of it; what is under
/// /dev or /proc can only be written straight. That it can be written is known before the run begins.
/// </summary>
internal sealed class StatusFile
{
    private readonly string _path;
    private readonly string? _beside;
    private readonly FileStreamOptions _options;
    private int _written;

    private StatusFile(string path)
    {
        string full = Path.GetFullPath(path);
        bool straight = full.StartsWith("/dev/", StringComparison.Ordinal) || full.StartsWith("/proc/", StringComparison.Ordinal);
        // What a link names is replaced, not the link.
        _path = straight || new FileInfo(full).LinkTarget is null ? full : File.ResolveLinkTarget(full, returnFinalTarget: true)!.FullName;
        if (!straight && Directory.Exists(_path))
            throw new UnauthorizedAccessException();
        _beside = straight ? null : $"{_path}.{Environment.ProcessId}.tmp";
        _options = new FileStreamOptions { Mode = straight ? FileMode.Open : FileMode.Create, Access = FileAccess.Write };
        File.Open(_beside ?? _path, _options).Dispose();
    }

    /// <param name="path">What --status-file names; null: nothing.</param>
    /// <param name="file">Null also where nothing is asked for.</param>
    public static bool TryCreate(string? path, out StatusFile? file, out string error)
    {
        file = null;
        error = "";
        try
        {
            if (path is not null)
                file = new StatusFile(path);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            error = $"cannot write to '{path}': {HostFiles.Reason(e)}";
            return false;
        }
    }

    /// <summary>Writes the whole file; only the first call does anything.</summary>
    public bool TryWrite(string text, out string error)
    {
        error = "";
        if (Interlocked.Exchange(ref _written, 1) != 0)
            return true;
        try
        {
            using (var writer = new StreamWriter(_beside ?? _path, _options))
                writer.Write(text);
            if (_beside is not null)
                File.Move(_beside, _path, overwrite: true);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (_beside is not null)
                File.Delete(_beside);
            error = $"cannot write to '{_path}': {HostFiles.Reason(e)}";
            return false;
        }
    }
}

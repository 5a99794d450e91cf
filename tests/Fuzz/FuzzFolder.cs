using System.Security.Cryptography;
using Emulator.Kernel;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Fuzz;

/// <summary>
/// The host as a fuzzing guest sees it: a directory granted for reading, one for writing with links that lead out, and beside them a secret that nothing is to read or change.
/// </summary>
internal sealed class FuzzFolder : IDisposable
{
    private const UnixFileMode Executable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private readonly string _root = Directory.CreateTempSubdirectory("fuzz-").FullName;
    private readonly byte[] _secret = RandomNumberGenerator.GetBytes(32);
    private readonly (UnixFileMode, UnixFileMode, DateTime) _before;
    private int _programs;

    public FuzzFolder()
    {
        foreach (string name in (string[])["ro", "rw", "secrets", "programs"])
            Directory.CreateDirectory($"{_root}/{name}");
        File.WriteAllBytes($"{_root}/ro/file", new byte[8192]);
        File.WriteAllBytes($"{_root}/secrets/secret", _secret);
        File.CreateSymbolicLink($"{_root}/ro/out", $"{_root}/secrets/secret");
        _before = AttributesOf("ro");
        Refresh();
    }

    public IReadOnlyList<Bind> Binds => [new Bind($"{_root}/ro", "/ro", ReadOnly: true), new Bind($"{_root}/rw", "/rw")];

    /// <summary>A program file, to be deleted by who asked for it.</summary>
    public string Write(byte[] image)
    {
        string path = $"{_root}/programs/{Interlocked.Increment(ref _programs)}";
        File.WriteAllBytes(path, image);
        if (OperatingSystem.IsLinux())
            File.SetUnixFileMode(path, Executable);
        return path;
    }

    /// <summary>What a guest has done to the host that it must not; and everything as it was again.</summary>
    public string? Check(Machine machine)
    {
        string? wrong =
            !File.ReadAllBytes($"{_root}/secrets/secret").AsSpan().SequenceEqual(_secret) || Directory.GetFileSystemEntries($"{_root}/secrets").Length != 1 ? "a file outside of every grant was changed"
            : File.ReadAllBytes($"{_root}/ro/file").AsSpan().ContainsAnyExcept((byte)0) || Directory.GetFileSystemEntries($"{_root}/ro").Length != 2 || AttributesOf("ro") != _before ? "a grant for reading was written to"
            : HasSecret(machine) ? "a file outside of every grant was read"
            : null;
        Refresh();
        return wrong;
    }

    private (UnixFileMode OfDirectory, UnixFileMode OfFile, DateTime Written) AttributesOf(string name) => OperatingSystem.IsLinux()
        ? (File.GetUnixFileMode($"{_root}/{name}"), File.GetUnixFileMode($"{_root}/{name}/file"), File.GetLastWriteTimeUtc($"{_root}/{name}/file")) : default;

    /// <summary>Frames keep what was in them until they are used again.</summary>
    private bool HasSecret(Machine machine)
    {
        for (ulong position = 0; position < machine.Pages.UsedSpan; position++)
        {
            if (machine.Memory.BytesOf(machine.Pages.UsedFrame(position)).IndexOf(_secret) >= 0)
                return true;
        }
        return false;
    }

    private void Refresh()
    {
        string rw = $"{_root}/rw";
        // Most batches change nothing that cannot be put right without a process.
        try
        {
            if (Directory.Exists(rw))
                Directory.Delete(rw, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Remove(rw);
        }
        Directory.CreateDirectory(rw);
        File.WriteAllBytes($"{rw}/file", new byte[20_000]);
        File.CreateSymbolicLink($"{rw}/link", "file");
        File.CreateSymbolicLink($"{rw}/out", $"{_root}/secrets/secret");
        File.CreateSymbolicLink($"{rw}/up", "../secrets");
    }

    /// <summary>By the host's own means: a guest may have taken rights from its directories, and given names that are no text.</summary>
    private static void Remove(string directory)
    {
        if (Directory.Exists(directory))
            NativeHost.Run(new(""), NativeHost.Find("rm")!, ["-rf", directory]);
    }

    public void Dispose() => Remove(_root);
}

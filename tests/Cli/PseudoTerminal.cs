using System.Runtime.InteropServices;
using System.Text;

namespace Emulator.Tests.Cli;

/// <summary>
/// A pseudo-terminal and one program on it, which leads a session of its own: what is typed here reaches it as from a keyboard, and what
/// it shows is kept. A program that is still there in the end is killed.
/// </summary>
internal sealed unsafe partial class PseudoTerminal : IDisposable
{
    /// <summary>Set in <see cref="Wait"/>'s answer for a signal, as in <c>$?</c>.</summary>
    public const int Signaled = 128;

    private const int O_RDWR = 2, O_NOCTTY = 0x100, O_CLOEXEC = 0x80000, TIOCSWINSZ = 0x5414, SIGKILL = 9;
    private const short POSIX_SPAWN_SETSIGDEF = 4, POSIX_SPAWN_SETSIGMASK = 8, POSIX_SPAWN_SETSID = 0x80;

    /// <summary>No libc's posix_spawnattr_t, posix_spawn_file_actions_t, sigset_t or struct termios is larger.</summary>
    private const int StructSize = 512;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly int _keyboard, _slave, _pid;
    private readonly StringBuilder _shown = new();
    private readonly Thread _reader;
    private int? _status;
    private int _looked;
    private bool _closed;

    /// <param name="rows">Of the terminal's window when the program starts.</param>
    public PseudoTerminal(int rows, int columns, IReadOnlyList<string> environment, params string[] command)
    {
        _keyboard = OpenMaster(O_RDWR | O_NOCTTY | O_CLOEXEC);
        byte* name = stackalloc byte[64];
        if (_keyboard < 0 || Grant(_keyboard) != 0 || Unlock(_keyboard) != 0 || NameOfSlave(_keyboard, name, 64) != 0)
            Assert.Ignore("no pseudo-terminals on this host");
        // Held open, so that nothing hangs up before the program has opened it.
        _slave = Open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        Resize(rows, columns);
        _pid = Spawn(name, environment, command);
        _reader = new Thread(Read) { IsBackground = true };
        _reader.Start();
    }

    /// <summary>All that was shown so far, with the terminal's line ends.</summary>
    public string Shown
    {
        get
        {
            lock (_shown)
                return _shown.ToString();
        }
    }

    /// <summary>Whether the terminal shows what is typed.</summary>
    public bool Echoes
    {
        get
        {
            byte* modes = stackalloc byte[StructSize];
            Assert.That(GetModes(_slave, modes), Is.Zero);
            // c_lflag, the fourth word, and its ECHO.
            return (((uint*)modes)[3] & 8) != 0;
        }
    }

    public void Type(string text)
    {
        byte[] bytes = Encoding.Latin1.GetBytes(text);
        fixed (byte* start = bytes)
            Assert.That(Write(_keyboard, start, (nuint)bytes.Length), Is.EqualTo((nint)bytes.Length));
    }

    /// <summary>What the control key makes of a letter.</summary>
    public static string Control(char letter) => ((char)(letter & 0x1F)).ToString();

    /// <summary>Changes the window's size, as a person does with the mouse: the foreground process group gets SIGWINCH.</summary>
    public void Resize(int rows, int columns)
    {
        ushort* size = stackalloc ushort[4] { (ushort)rows, (ushort)columns, 0, 0 };
        Assert.That(IoControl(_keyboard, TIOCSWINSZ, size), Is.Zero);
    }

    /// <summary>Waits until the text is shown, after what was found before.</summary>
    public void Expect(string text)
    {
        lock (_shown)
        {
            long end = Environment.TickCount64 + (long)Patience.TotalMilliseconds;
            int found;
            while ((found = _shown.ToString().IndexOf(text, _looked, StringComparison.Ordinal)) < 0)
            {
                long left = end - Environment.TickCount64;
                if (left <= 0 || _closed || !Monitor.Wait(_shown, (int)left))
                    Assert.Fail($"'{text}' was never shown, but:\n{_shown.ToString(_looked, _shown.Length - _looked)}");
            }
            _looked = found + text.Length;
        }
    }

    /// <summary>Waits for the program's end: its exit status, or <see cref="Signaled"/> plus the signal that killed it.</summary>
    public int Wait()
    {
        var end = new Thread(() => Reap());
        end.Start();
        if (!end.Join(Patience))
        {
            _ = Kill(_pid, SIGKILL);
            end.Join();
            Assert.Fail($"the program did not end; shown:\n{Shown}");
        }
        return _status!.Value;
    }

    public void Dispose()
    {
        if (_status is null)
        {
            // The emulator's own process group, and under a shell its jobs: they get SIGHUP when the leader of their session goes.
            _ = Kill(_pid, SIGKILL);
            Reap();
        }
        // The last slave's closing ends the reader.
        _ = Close(_slave);
        _reader.Join(Patience);
        _ = Close(_keyboard);
    }

    private void Reap()
    {
        int status;
        if (WaitPid(_pid, &status, 0) == _pid)
            _status = (status & 0x7F) != 0 ? Signaled + (status & 0x7F) : status >> 8 & 0xFF;
    }

    private void Read()
    {
        byte* buffer = stackalloc byte[4096];
        nint count;
        while ((count = Read(_keyboard, buffer, 4096)) > 0)
        {
            lock (_shown)
            {
                _shown.Append(Encoding.Latin1.GetString(buffer, (int)count));
                Monitor.PulseAll(_shown);
            }
        }
        lock (_shown)
        {
            _closed = true;
            Monitor.PulseAll(_shown);
        }
    }

    /// <summary>Starts the program in a new session, whose controlling terminal is the first that it opens; signals as a login shell has them.</summary>
    private static int Spawn(byte* terminal, IReadOnlyList<string> environment, string[] command)
    {
        byte* attributes = stackalloc byte[StructSize], actions = stackalloc byte[StructSize], signals = stackalloc byte[StructSize];
        InitAttributes(attributes);
        InitActions(actions);
        new Span<byte>(signals, StructSize).Clear();
        SetMask(attributes, signals);
        new Span<byte>(signals, StructSize).Fill(0xFF);
        SetDefaults(attributes, signals);
        SetFlags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        AddOpen(actions, 0, terminal, O_RDWR, 0);
        AddDuplicate(actions, 0, 1);
        AddDuplicate(actions, 0, 2);
        int error = PosixSpawn(out int pid, command[0], actions, attributes, [.. command, null], [.. environment, null]);
        DestroyActions(actions);
        DestroyAttributes(attributes);
        Assert.That(error, Is.Zero, $"{command[0]} cannot be started");
        return pid;
    }
}

using System.Buffers.Binary;

namespace Emulator.Kernel.Tasks;

/// <summary>A signal with what <c>siginfo_t</c> says about it (include/uapi/asm-generic/siginfo.h).</summary>
public sealed record SignalInfo(int Number, int Code)
{
    public const int Size = 128;

    /// <summary>Values of <c>si_code</c>.</summary>
    public const int SI_USER = 0, SI_KERNEL = 0x80, SI_QUEUE = -1, SI_TIMER = -2, SI_MESGQ = -3, SI_ASYNCIO = -4, SI_SIGIO = -5, SI_TKILL = -6;
    public const int SEGV_MAPERR = 1, SEGV_ACCERR = 2, BUS_ADRALN = 1, BUS_ADRERR = 2, BUS_OBJERR = 3;
    public const int ILL_ILLOPN = 2, FPE_INTDIV = 1, FPE_INTOVF = 2, FPE_FLTDIV = 3, FPE_FLTOVF = 4, FPE_FLTUND = 5, FPE_FLTRES = 6, FPE_FLTINV = 7;
    public const int TRAP_BRKPT = 1, TRAP_TRACE = 2;
    public const int CLD_EXITED = 1, CLD_KILLED = 2, CLD_DUMPED = 3, CLD_TRAPPED = 4, CLD_STOPPED = 5, CLD_CONTINUED = 6;

    public int Errno { get; init; }

    /// <summary>Sender, or the child of SIGCHLD.</summary>
    public int Pid { get; init; }

    public int Uid { get; init; }

    /// <summary>SIGCHLD: exit code or signal.</summary>
    public int Status { get; init; }

    /// <summary>Fault address of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP.</summary>
    public ulong Address { get; init; }

    /// <summary>The sender's <c>sigval</c>.</summary>
    public ulong Value { get; init; }

    /// <summary>POSIX timers: id, and expirations that were merged into this one.</summary>
    public int TimerId { get; init; }

    public int Overrun { get; init; }

    /// <summary>SIGIO: the band and the descriptor.</summary>
    public long Band { get; init; }

    public int Fd { get; init; }

    /// <summary>SIGCHLD: the child's times in clock ticks.</summary>
    public long UserTime { get; init; }

    public long SystemTime { get; init; }

    /// <summary>The x86 exception behind the signal, for the frame's <c>trapno</c>, <c>err</c> and <c>cr2</c>; -1 if there is none.</summary>
    public int Vector { get; init; } = -1;

    public uint ErrorCode { get; init; }

    /// <summary>The timer whose expiry this is; it is re-armed when the signal is taken.</summary>
    internal PosixTimer? Timer { get; init; }

    /// <summary>The bytes after <c>si_code</c> exactly as rt_sigqueueinfo gave them.</summary>
    internal byte[]? Raw { get; init; }

    internal bool FromUser => Code <= 0;

    /// <summary>Writes <c>siginfo_t</c>, 128 bytes.</summary>
    public void Encode(Span<byte> to)
    {
        to[..Size].Clear();
        if (Raw is not null)
        {
            Raw.CopyTo(to);
            return;
        }
        BinaryPrimitives.WriteInt32LittleEndian(to, Number);
        BinaryPrimitives.WriteInt32LittleEndian(to[4..], Errno);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], Code);
        if (Code == SI_TIMER)
        {
            BinaryPrimitives.WriteInt32LittleEndian(to[16..], TimerId);
            BinaryPrimitives.WriteInt32LittleEndian(to[20..], Overrun);
            BinaryPrimitives.WriteUInt64LittleEndian(to[24..], Value);
        }
        else if (Code > 0 && (Signal.Synchronous & Signal.Bit(Number)) != 0)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Address);
        }
        else if (Number == Signal.SIGIO && Code > 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(to[16..], Band);
            BinaryPrimitives.WriteInt32LittleEndian(to[24..], Fd);
        }
        else
        {
            BinaryPrimitives.WriteInt32LittleEndian(to[16..], Pid);
            BinaryPrimitives.WriteInt32LittleEndian(to[20..], Uid);
            if (Number == Signal.SIGCHLD && Code > 0)
            {
                BinaryPrimitives.WriteInt32LittleEndian(to[24..], Status);
                BinaryPrimitives.WriteInt64LittleEndian(to[32..], UserTime);
                BinaryPrimitives.WriteInt64LittleEndian(to[40..], SystemTime);
            }
            else
            {
                BinaryPrimitives.WriteUInt64LittleEndian(to[24..], Value);
            }
        }
    }

    /// <summary>What rt_sigqueueinfo was given, kept byte for byte.</summary>
    internal static SignalInfo FromUserBytes(int number, ReadOnlySpan<byte> raw)
    {
        byte[] copy = raw[..Size].ToArray();
        BinaryPrimitives.WriteInt32LittleEndian(copy, number);
        return new SignalInfo(number, BinaryPrimitives.ReadInt32LittleEndian(raw[8..]))
        {
            Errno = BinaryPrimitives.ReadInt32LittleEndian(raw[4..]),
            Pid = BinaryPrimitives.ReadInt32LittleEndian(raw[16..]),
            Uid = BinaryPrimitives.ReadInt32LittleEndian(raw[20..]),
            Value = BinaryPrimitives.ReadUInt64LittleEndian(raw[24..]),
            Raw = copy,
        };
    }
}

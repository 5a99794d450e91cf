using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>signalfd(2): reads take pending signals of the reading task or its process.</summary>
internal sealed class SignalFd(ulong mask, int flags) : EventFile(flags)
{
    /// <summary>struct signalfd_siginfo.</summary>
    private const int RecordSize = 128;

    private ulong _mask = mask;

    /// <summary>The signals that may be read, bit N-1 for signal N.</summary>
    public ulong Mask
    {
        get => Volatile.Read(ref _mask);
        set => Volatile.Write(ref _mask, value);
    }

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        if (buffer.Length < RecordSize)
            return -Errno.EINVAL;
        int done = 0;
        while (done + RecordSize <= buffer.Length)
        {
            if (task.TakeSignal(Mask) is { } info)
            {
                Encode(info, buffer.Slice(done, RecordSize));
                done += RecordSize;
                continue;
            }
            if (done > 0)
                break;
            if (IsNonBlocking)
                return -Errno.EAGAIN;
            if (task.Process.SignalArrived.Wait(task, (task, Self: this), static s => s.Self.HasPending(s.task)) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
        return done;
    }

    private static void Encode(SignalInfo s, Span<byte> to)
    {
        to.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(to, (uint)s.Number);
        BinaryPrimitives.WriteInt32LittleEndian(to[4..], s.Errno);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], s.Code);
        BinaryPrimitives.WriteInt32LittleEndian(to[12..], s.Pid);
        BinaryPrimitives.WriteInt32LittleEndian(to[16..], s.Uid);
        BinaryPrimitives.WriteInt32LittleEndian(to[20..], s.Fd);
        BinaryPrimitives.WriteInt32LittleEndian(to[24..], s.TimerId);
        BinaryPrimitives.WriteInt32LittleEndian(to[28..], (int)s.Band);
        BinaryPrimitives.WriteInt32LittleEndian(to[32..], s.Overrun);
        BinaryPrimitives.WriteInt32LittleEndian(to[40..], s.Status);
        BinaryPrimitives.WriteInt32LittleEndian(to[44..], (int)s.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], s.Value);
        BinaryPrimitives.WriteInt64LittleEndian(to[56..], s.UserTime);
        BinaryPrimitives.WriteInt64LittleEndian(to[64..], s.SystemTime);
        BinaryPrimitives.WriteUInt64LittleEndian(to[72..], s.Address);
    }

    /// <summary>Readiness is the polling task's: the queue of its own process tells.</summary>
    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(task.Process.SignalArrived);
        return HasPending(task) ? PollEvents.Readable : PollEvents.None;
    }

    private bool HasPending(Task task) => ((task.Pending.Mask | task.Process.Pending.Mask) & Mask) != 0;

    internal override void DescribeTo(StringBuilder text) => text.Append(CultureInfo.InvariantCulture, $"sigmask:\t{Mask:x16}\n");
}

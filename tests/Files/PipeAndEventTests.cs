using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Files.Sockets;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Files.Sockets.SocketAbi;

namespace Emulator.Tests.Files;

/// <summary>Streams and event files without blocking; how they block is shown by guests that also run on the host.</summary>
public sealed class PipeAndEventTests
{
    private FilesBench _bench = null!;

    [SetUp]
    public void MakeMachine() => _bench = new FilesBench();

    [TearDown]
    public void DisposeMachine() => _bench.Dispose();

    private long Read(OpenFile file, int length, out byte[] data)
    {
        byte[] buffer = new byte[length];
        long position = 0;
        long n = file.Read(_bench.Task, buffer, ref position);
        data = buffer[..(int)Math.Max(0, n)];
        return n;
    }

    private long Write(OpenFile file, int length)
    {
        long position = 0;
        return file.Write(_bench.Task, new byte[length], ref position);
    }

    private (OpenFile Reader, OpenFile Writer) NewPipe() => Pipe.Create(_bench.Task, O_NONBLOCK);

    private PollEvents Poll(OpenFile file) => file.Poll(_bench.Task, null);

    [Test]
    public void A_pipe_takes_its_capacity_and_no_more()
    {
        (OpenFile reader, OpenFile writer) = NewPipe();
        Assert.That(Read(reader, 1, out _), Is.EqualTo(-Errno.EAGAIN));
        Assert.That(Write(writer, 100_000), Is.EqualTo(65_536));
        Assert.That(Write(writer, 1), Is.EqualTo(-Errno.EAGAIN));
        Assert.That(Poll(writer), Is.EqualTo(PollEvents.None));
        Assert.That(Read(reader, 4095, out _), Is.EqualTo(4095));
        Assert.That(Write(writer, 4096), Is.EqualTo(-Errno.EAGAIN), "a write of PIPE_BUF is not split");
        Assert.That(Write(writer, 4095), Is.EqualTo(4095));
        writer.Put();
        Assert.That(Poll(reader), Is.EqualTo(PollEvents.Readable | PollEvents.HangUp));
        Assert.That(Read(reader, 100_000, out _), Is.EqualTo(65_536));
        Assert.That(Read(reader, 1, out _), Is.Zero);
        reader.Put();
    }

    [Test]
    public void A_pipe_without_readers_breaks()
    {
        (OpenFile reader, OpenFile writer) = NewPipe();
        reader.Put();
        Assert.That(Write(writer, 1), Is.EqualTo(-Errno.EPIPE));
        Assert.That(Poll(writer), Is.EqualTo(PollEvents.Writable | PollEvents.Error));
        writer.Put();
    }

    [TestCase(1u, 4096)]
    [TestCase(5000u, 8192)]
    [TestCase(1u << 20, 1 << 20)]
    [TestCase((1u << 20) + 1, -Errno.EPERM)]
    public void A_pipe_can_be_resized(uint size, int expected)
    {
        (OpenFile reader, OpenFile writer) = NewPipe();
        Assert.That(((PipeFile)writer).Pipe.SetCapacity(size), Is.EqualTo(expected));
        reader.Put();
        writer.Put();
    }

    [Test]
    public void The_order_of_bytes_survives_wrapping_round()
    {
        (OpenFile reader, OpenFile writer) = NewPipe();
        byte next = 0, expected = 0;
        for (int round = 0; round < 200; round++)
        {
            byte[] chunk = new byte[977];
            for (int i = 0; i < chunk.Length; i++)
                chunk[i] = next++;
            long position = 0;
            Assert.That(writer.Write(_bench.Task, chunk, ref position), Is.EqualTo(chunk.Length));
            Read(reader, round % 3 == 0 ? 400 : 1200, out byte[] got);
            foreach (byte b in got)
                Assert.That(b, Is.EqualTo(expected++));
        }
        reader.Put();
        writer.Put();
    }

    [Test]
    public void An_eventfd_adds_and_a_semaphore_counts_down()
    {
        var counter = new EventFd(3, semaphore: false, O_RDWR | O_NONBLOCK);
        var semaphore = new EventFd(2, semaphore: true, O_RDWR | O_NONBLOCK);
        Assert.That(Read(counter, 8, out byte[] value), Is.EqualTo(8));
        Assert.That(BitConverter.ToUInt64(value), Is.EqualTo(3));
        Assert.That(Read(counter, 8, out _), Is.EqualTo(-Errno.EAGAIN));
        Assert.That(Read(counter, 7, out _), Is.EqualTo(-Errno.EINVAL));
        Assert.That(Read(semaphore, 8, out value), Is.EqualTo(8));
        Assert.That(BitConverter.ToUInt64(value), Is.EqualTo(1));
        Assert.That(Poll(semaphore), Is.EqualTo(PollEvents.Readable | PollEvents.Writable));
    }

    [TestCase(0u, 2)]
    [TestCase(EventPoll.EPOLLET, 1)]
    [TestCase(EventPoll.EPOLLONESHOT, 1)]
    public void Epoll_tells_as_often_as_its_mode_says(uint mode, int times)
    {
        (OpenFile reader, OpenFile writer) = NewPipe();
        var epoll = new EventPoll(O_RDWR);
        Assert.That(epoll.Add(_bench.Task, reader, 3, (uint)PollEvents.In | mode, 77), Is.Zero);
        Assert.That(Wait(epoll), Is.Zero);
        Write(writer, 10);
        int told = 0;
        for (int i = 0; i < 2; i++)
            told += (int)Wait(epoll);
        Assert.That(told, Is.EqualTo(times));
        Write(writer, 1);
        Assert.That(Wait(epoll), Is.EqualTo(mode == EventPoll.EPOLLONESHOT ? 0 : 1), "after new data");
        Assert.That(epoll.Modify(_bench.Task, reader, 3, (uint)PollEvents.In, 77), Is.Zero);
        Assert.That(Wait(epoll), Is.EqualTo(1), "after being armed again");
        reader.Put();
        Assert.That(Wait(epoll), Is.Zero, "a closed file is no longer watched");
        writer.Put();
        epoll.Put();
    }

    private long Wait(EventPoll epoll)
    {
        Span<(uint Events, ulong Data)> events = stackalloc (uint, ulong)[4];
        return epoll.Wait(_bench.Task, events, deadlineNs: 0);
    }

    [Test]
    public void Epoll_instances_may_watch_each_other_but_not_in_circles()
    {
        var inner = new EventPoll(O_RDWR);
        var outer = new EventPoll(O_RDWR);
        (OpenFile reader, OpenFile writer) = NewPipe();
        Assert.That(outer.Add(_bench.Task, inner, 4, (uint)PollEvents.In, 1), Is.Zero);
        Assert.That(inner.Add(_bench.Task, outer, 5, (uint)PollEvents.In, 2), Is.EqualTo(-Errno.ELOOP));
        Assert.That(inner.Add(_bench.Task, reader, 6, (uint)PollEvents.In, 3), Is.Zero);
        Assert.That(Wait(outer), Is.Zero);
        Write(writer, 1);
        Assert.That(Wait(outer), Is.EqualTo(1));
        foreach (OpenFile file in (OpenFile[])[reader, writer, inner, outer])
            file.Put();
    }

    [Test]
    public void A_stream_socket_carries_bytes_and_says_when_the_other_end_is_gone()
    {
        (UnixSocket a, UnixSocket b) = UnixSocket.CreatePair(_bench.Task, SOCK_STREAM, O_NONBLOCK);
        Assert.That(Read(b, 1, out _), Is.EqualTo(-Errno.EAGAIN));
        Assert.That(Write(a, 10), Is.EqualTo(10));
        Assert.That(Read(b, 4, out _), Is.EqualTo(4));
        Assert.That(Read(b, 40, out _), Is.EqualTo(6));
        Assert.That(a.Shutdown(1), Is.Zero);
        Assert.That(Read(b, 1, out _), Is.Zero);
        Assert.That(Write(b, 1), Is.EqualTo(1));
        a.Put();
        Assert.That(Write(b, 1), Is.EqualTo(-Errno.EPIPE));
        Assert.That(Poll(b) & PollEvents.HangUp, Is.EqualTo(PollEvents.HangUp));
        b.Put();
    }

    [Test]
    public void Packets_keep_their_borders_and_what_does_not_fit_is_cut()
    {
        (UnixSocket a, UnixSocket b) = UnixSocket.CreatePair(_bench.Task, SOCK_SEQPACKET, O_NONBLOCK);
        Write(a, 10);
        Write(a, 20);
        Assert.That(b.Receive(_bench.Task, new byte[4], 0, out ReceivedInfo info), Is.EqualTo(4));
        Assert.That(info.Flags & MSG_TRUNC, Is.EqualTo(MSG_TRUNC));
        Assert.That(b.Receive(_bench.Task, new byte[40], MSG_PEEK, out _), Is.EqualTo(20));
        Assert.That(b.Receive(_bench.Task, new byte[40], 0, out _), Is.EqualTo(20));
        a.Put();
        b.Put();
    }

    /// <summary>There is room for some bytes, not for the packet: who waits for it sleeps, and gives up when its time is up.</summary>
    [Test]
    public void A_packet_waits_for_room_for_all_of_it()
    {
        (UnixSocket a, UnixSocket b) = UnixSocket.CreatePair(_bench.Task, SOCK_SEQPACKET, 0);
        a.SendTimeoutNs = Clock.Millisecond;
        int most = a.SendBuffer - 1000;
        Assert.That(Write(a, most), Is.EqualTo(most));
        Assert.That(Write(a, 2000), Is.EqualTo(-Errno.EAGAIN));
        Assert.That(b.Receive(_bench.Task, new byte[1], 0, out _), Is.EqualTo(1));
        Assert.That(Write(a, 2000), Is.EqualTo(2000));
        a.Put();
        b.Put();
    }

    [Test]
    public void A_passed_file_arrives_once_and_is_dropped_with_its_message()
    {
        (UnixSocket a, UnixSocket b) = UnixSocket.CreatePair(_bench.Task, SOCK_STREAM, O_NONBLOCK);
        (OpenFile reader, OpenFile writer) = NewPipe();
        Assert.That(a.Send(_bench.Task, new byte[1], 0, null, [writer.Get()]), Is.EqualTo(1));
        Assert.That(b.Receive(_bench.Task, new byte[1], 0, out ReceivedInfo info), Is.EqualTo(1));
        Assert.That(info.Files, Is.EqualTo(new[] { writer }));
        info.Files![0].Put();
        a.Send(_bench.Task, new byte[1], 0, null, [writer.Get()]);
        writer.Put();
        Assert.That(Poll(reader), Is.EqualTo(PollEvents.None), "the message keeps the writer open");
        a.Put();
        b.Put();
        Assert.That(Poll(reader), Is.EqualTo(PollEvents.HangUp));
        reader.Put();
    }

    [Test]
    public void Record_locks_split_merge_and_go_with_their_owner()
    {
        var locks = new FileLocks();
        object mine = new(), theirs = new();
        FileLock Want(object owner, long start, long end, bool exclusive) => new(owner, 1, start, end, exclusive);
        Assert.That(locks.SetRecord(_bench.Task, Want(mine, 0, 99, true), wait: false), Is.Zero);
        Assert.That(locks.SetRecord(_bench.Task, Want(theirs, 50, 60, false), wait: false), Is.EqualTo(-Errno.EAGAIN));
        locks.ClearRecord(mine, 40, 69);
        Assert.That(locks.SetRecord(_bench.Task, Want(theirs, 50, 60, true), wait: false), Is.Zero);
        Assert.That(locks.FindConflict(Want(theirs, 0, 200, false))!.End, Is.EqualTo(39).Or.EqualTo(99));
        locks.ReleasePosix(mine);
        Assert.That(locks.FindConflict(Want(theirs, 0, 200, true)), Is.Null);
        locks.ReleasePosix(theirs);
        Assert.That(locks.IsEmpty, Is.True);
    }
}

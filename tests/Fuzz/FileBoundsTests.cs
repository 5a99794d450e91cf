using System.IO.Pipes;
using System.Runtime.CompilerServices;
using System.Text;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Files.Sockets;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Fuzz;

/// <summary>What programs can make of files and sockets that would grow, nest or race without end: found by reading every path from their numbers to an allocation.</summary>
[Platform("Linux")]
public sealed class FileBoundsTests
{
    private const int Close = 3, Socket = 41, Connect = 42, GetPeerName = 52, GetWorkingDirectory = 79, ChangeDirectory = 80, MakeDirectory = 83, RemoveDirectory = 84, Mount = 165,
        EpollControl = 233, EpollCreate = 291;

    private const ulong Stream = 1, Datagram = 2, NonBlocking = 0x800;

    private static readonly MachineOptions Small = new() { MemoryBytes = 64 << 20 }, Two = Small with { Vcpus = 2 };

    /// <summary>From the top down, each addition finds nothing below; a wake-up would go through all of them.</summary>
    [Test]
    public void A_chain_of_epoll_instances_stays_short_from_either_end() => KernelCalls.Run(Small, static (calls, _) =>
    {
        ulong interest = calls.Pass(new byte[12]);
        foreach (bool down in (bool[])[true, false])
        {
            ulong[] chain = [.. Enumerable.Range(0, 12).Select(_ => (ulong)calls.Call(EpollCreate, 0))];
            long[] added = [.. Enumerable.Range(0, 11).Select(i => down ? i : 10 - i).Select(i => calls.Call(EpollControl, chain[i], 1, chain[i + 1], interest))];
            Assert.That(added[..3], Is.All.Zero);
            Assert.That(added[3], Is.EqualTo(-Errno.ELOOP));
            Assert.That(added.Count(static r => r == 0), Is.EqualTo(9), "of every four that follow each other the last is refused");
        }
    });

    /// <summary>Each finds nothing wrong, for the other has not watched yet; a poll would go round for ever.</summary>
    [Test]
    public void Two_epoll_instances_never_watch_each_other() => KernelThreads.Race(Two, 40, static (_, round) =>
    {
        const int Pairs = 500;
        EventPoll[] first = [.. Enumerable.Range(0, Pairs).Select(static _ => new EventPoll(FileAbi.O_RDWR))], second = [.. first.Select(static _ => new EventPoll(FileAbi.O_RDWR))];
        long[] ahead = new long[Pairs], back = new long[Pairs];
        int before = round.Places(Pairs);
        return (task => Add(0, task, first, second, ahead), task => Add(1, task, second, first, back), () =>
            Assert.That(ahead.Zip(back, static (a, b) => (a == -Errno.ELOOP) ^ (b == -Errno.ELOOP)), Is.All.True));

        void Add(int half, Task task, EventPoll[] to, EventPoll[] added, long[] results)
        {
            for (int i = 0; i < Pairs; i++)
            {
                round.Meet(half, before + i);
                results[i] = to[i].Add(task, added[i], 3, 1, 0);
            }
        }
    });

    /// <summary>It waits for the lock while another thread closes the file; nobody would ever release it, and its room would be gone for good.</summary>
    [Test]
    public void A_lock_of_a_file_that_was_closed_meanwhile_is_not_kept()
    {
        const int FileControl = 72, MemfdCreate = 319, SetLockWait = 7, WriteLock = 1;
        using var machine = new Machine(Two with { Timeout = TimeSpan.FromSeconds(60), Stdin = -1, Stdout = -1, Stderr = -1 });
        machine.Run(task =>
        {
            object holder = new();
            OpenFile? locked = null;
            Task? waiting = null;
            long result = 0;
            KernelThread other = machine.Spawn(own =>
            {
                var calls = new KernelCalls(own);
                int fd = (int)calls.Call(MemfdCreate, calls.Pass("x\0"u8.ToArray()), 0);
                using (FileReference file = own.Files.GetForIo(fd))
                    locked = file.File;
                Assert.That(locked!.Locks!.SetRecord(own, new FileLock(holder, 1, 0, long.MaxValue, Exclusive: true), wait: false), Is.Zero);
                ulong wanted = calls.Pass(WriteLock, 0, 0, 0);
                Volatile.Write(ref waiting, own);
                result = calls.Call(FileControl, (ulong)fd, SetLockWait, wanted);
            });
            while (Volatile.Read(ref waiting) is not { Vcpu: null })
            {
                task.SpinOnce();
                Thread.Yield();
            }
            locked!.Get();
            Assert.That(waiting!.Files.Close(task, FdOf(waiting, locked)), Is.Zero);
            locked.Locks!.ReleaseOwner(holder);
            other.Join(task);
            Assert.That((result, locked.Locks.IsEmpty), Is.EqualTo(((long)-Errno.EBADF, true)));
            locked.Put();
        });

        static int FdOf(Task task, OpenFile file)
        {
            for (int fd = 0; ; fd++)
            {
                using FileReference reference = task.Files.GetForIo(fd);
                if (reference.File == file)
                    return fd;
            }
        }
    }

    /// <summary>A thread reads on where another one has had the text made anew, and shorter.</summary>
    [Test]
    public void A_generated_file_may_become_shorter_while_it_is_read() => KernelThreads.Race(Two, 20, static (task, round) =>
    {
        const int Times = 2000;
        OpenFile file = round.Once(() => OpenComm(task));
        return (own =>
        {
            for (int i = 0; i < Times; i++)
            {
                own.SetComm(i % 2 == 0 ? "a"u8 : "fifteen letters"u8);
                ReadAt(own, file, 0);
            }
        }, other =>
        {
            for (int i = 0; i < 10 * Times; i++)
                ReadAt(other, file, 10);
        }, static () => { });
    });

    private static OpenFile OpenComm(Task task)
    {
        Assert.That(task.Machine.Vfs.Open(task, FileAbi.AT_FDCWD, "/proc/self/comm", 0, 0, WalkFlags.None, out OpenFile? file), Is.Zero);
        return file!;
    }

    private static void ReadAt(Task task, OpenFile file, long position) => file.Read(task, new byte[4], ref position);

    /// <summary>The first one is open; each of the others was connected to the next one, and closed.</summary>
    [Test]
    public void A_closed_socket_keeps_none_that_it_was_connected_to() => KernelCalls.Run(Small, static (_, machine) =>
    {
        (UnixSocket first, WeakReference last) = ConnectInTurn(machine.CurrentTask!, 10);
        GC.Collect();
        Assert.That(last.IsAlive, Is.False);
        first.Put();
    });

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (UnixSocket First, WeakReference Last) ConnectInTurn(Task task, int count)
    {
        UnixSocket first = UnixSocket.Create(task, SocketAbi.SOCK_DGRAM, 0), last = first;
        for (int i = 0; i < count; i++)
        {
            UnixSocket next = UnixSocket.Create(task, SocketAbi.SOCK_DGRAM, 0);
            Assert.That(last.Connect(task, next, nonBlocking: true), Is.Zero);
            if (last != first)
                last.Put();
            last = next;
        }
        last.Put();
        return (first, new WeakReference(last));
    }

    [Test]
    public void Automatic_names_of_sockets_come_to_an_end() => KernelCalls.Run(Small, static (_, machine) =>
    {
        var names = new AbstractSockets(automaticNames: 4);
        UnixSocket[] sockets = [.. Enumerable.Range(0, 5).Select(_ => UnixSocket.Create(machine.CurrentTask!, SocketAbi.SOCK_DGRAM, 0))];
        Assert.That(sockets.Select(names.AddAutomatic), Is.EqualTo(new[] { 0, 0, 0, 0, -Errno.ENOSPC }));
        foreach (UnixSocket socket in sockets)
            socket.Put();
    });

    /// <summary>The name that it has at its close is the one that is forgotten.</summary>
    [Test]
    public void A_socket_that_two_threads_bind_has_one_name() => KernelThreads.Race(Two, 3000, static (task, _) =>
    {
        var names = new AbstractSockets();
        UnixSocket socket = UnixSocket.Create(task, SocketAbi.SOCK_DGRAM, 0);
        return (_ => names.Add(new UnixAddress("\0a"), socket), _ => names.Add(new UnixAddress("\0b"), socket), () =>
        {
            Assert.That((names.Find("\0a") is null) ^ (names.Find("\0b") is null), Is.True);
            names.Remove(socket);
            Assert.That(names.Find("\0a") ?? names.Find("\0b"), Is.Null);
            socket.Put();
        });
    });

    /// <summary>A thread asks for the name of a peer that another one takes away.</summary>
    [Test]
    public void A_peer_may_go_while_it_is_asked_for_its_name() => KernelThreads.Race(Two, 20, static (task, round) =>
    {
        const int Times = 3000;
        KernelCalls calls = round.Calls(task);
        ulong socket = round.Once(() => (ulong)calls.Call(Socket, 1, Datagram, 0)), room = round.Once(() => calls.Pass(new byte[64])), length = round.Once(() => calls.Pass(64UL));
        (UnixSocket own, UnixSocket peer) = round.Once(() => ((UnixSocket)task.Files.Get((int)socket).File!, UnixSocket.Create(task, SocketAbi.SOCK_DGRAM, 0)));
        return (_ =>
        {
            for (int i = 0; i < Times; i++)
                calls.Call(GetPeerName, socket, room, length);
        }, other =>
        {
            for (int i = 0; i < 3 * Times; i++)
            {
                own.Connect(other, peer, nonBlocking: true);
                own.Disconnect();
            }
        }, static () => { });
    });

    /// <summary>A thread makes the room for what is sent smaller while another one sends.</summary>
    [Test]
    public void The_room_of_a_socket_may_shrink_while_it_is_filled() => KernelThreads.Race(Two, 20, static (task, round) =>
    {
        const int Times = 3000;
        (UnixSocket from, UnixSocket to) = round.Once(() => UnixSocket.CreatePair(task, SocketAbi.SOCK_STREAM, (int)NonBlocking));
        byte[] data = round.Once(static () => new byte[8000]);
        return (own =>
        {
            for (int i = 0; i < Times; i++)
            {
                from.Send(own, data, 0, null, []);
                if (i % 4 == 3)
                    to.Receive(own, data, 0, out _);
            }
        }, _ =>
        {
            for (int i = 0; i < 100 * Times; i++)
                from.SendBuffer = i % 2 == 0 ? 4608 : SocketAbi.DefaultBuffer;
        }, static () => { });
    });

    /// <summary>A program begins to wait for its standard input, and gives it up, as often as it likes.</summary>
    [Test]
    public void Waits_for_the_host_that_were_given_up_are_forgotten() => KernelCalls.Run(Small, static (_, machine) =>
    {
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        int fd = (int)pipe.ClientSafePipeHandle.DangerousGetHandle();
        Task task = machine.CurrentTask!;
        for (int i = 0; i < 10; i++)
        {
            var stream = new HostStream(machine, fd, FileAbi.O_RDONLY);
            var waiters = new PollWaiters(task);
            Assert.That(stream.Poll(task, waiters), Is.EqualTo(PollEvents.None));
            waiters.RemoveAll();
            stream.Put();
            Assert.That(task.BlockOnHost(fd, 1, machine.Clock.MonotonicNs + 1000), Is.EqualTo(Kernel.Tasks.WaitResult.TimedOut));
        }
        Assert.That(machine.HostPoller.ArmedCount, Is.Zero);
    });

    [Test]
    public void Mounts_come_to_an_end() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        ulong type = calls.Pass("msharefs\0"u8.ToArray());
        long error = 0;
        for (int i = 0; error == 0 && i < 5000; i++)
        {
            ulong name = calls.Pass(Encoding.ASCII.GetBytes($"/tmp/{i}\0"));
            Assert.That(calls.Call(MakeDirectory, name, 0x1FF), Is.Zero);
            error = calls.Call(Mount, 0, name, type, 0, 0);
        }
        Assert.That((error, machine.Vfs.Mounts.Count), Is.EqualTo((-Errno.ENOSPC, 1000)));
    });

    /// <summary>They are not counted any more, and the task that is in the lowest one would keep them all.</summary>
    [Test]
    public void A_directory_that_is_removed_keeps_few_of_those_above_it() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        ulong[] names = [.. Enumerable.Range(1, 100).Select(depth => calls.Pass(Encoding.ASCII.GetBytes("/tmp" + string.Concat(Enumerable.Repeat("/d", depth)) + "\0")))];
        foreach (ulong name in names)
            Assert.That(calls.Call(MakeDirectory, name, 0x1FF), Is.Zero);
        Assert.That(calls.Call(ChangeDirectory, names[^1]), Is.Zero);
        foreach (ulong name in names.Reverse())
            Assert.That(calls.Call(RemoveDirectory, name), Is.Zero);
        int kept = 0;
        for (Dentry? at = machine.CurrentTask!.Fs.WorkingDirectory.Dentry; at is not null; at = at.Parent)
            kept++;
        Assert.That(kept, Is.LessThan(20));
    });

    [Test]
    public void A_place_whose_name_is_too_long_has_none() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        ulong name = calls.Pass([.. Enumerable.Repeat((byte)'x', 255), 0]), room = calls.Pass(new byte[65_536]);
        Assert.That(calls.Call(ChangeDirectory, calls.Pass("/tmp\0"u8.ToArray())), Is.Zero);
        for (int i = 1; i <= 20; i++)
        {
            Assert.That(calls.Call(MakeDirectory, name, 0x1FF), Is.Zero);
            Assert.That(calls.Call(ChangeDirectory, name), Is.Zero);
            Assert.That(calls.Call(GetWorkingDirectory, room, 65_536), i <= 15 ? Is.EqualTo(4 + 256 * i + 1) : Is.EqualTo(-Errno.ENAMETOOLONG));
        }
        Task task = machine.CurrentTask!;
        Assert.That(machine.Vfs.PathName(task.Fs.WorkingDirectory), Has.Length.LessThan(FileAbi.PathMax));
    });
}

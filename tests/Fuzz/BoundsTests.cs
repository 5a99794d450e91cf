using System.Text;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Tasks;
using Emulator.Tests.Loader;
using Emulator.Tests.Mm;

namespace Emulator.Tests.Fuzz;

/// <summary>What a program can make the kernel keep has an end, and what it can nest has one, too: found by reading every path from a program's numbers to an allocation.</summary>
[Platform("Linux")]
public sealed class BoundsTests
{
    private const int Close = 3, Mmap = 9, Pipe = 22, Dup2 = 33, Socket = 41, SendMessage = 46, SocketPair = 53, Fcntl = 72, MakeDirectory = 83, Mprotect = 10,
        MessageGet = 68, MessageSend = 69, TimerCreate = 222, EpollControl = 233, EpollCreate = 291, SetLimit = 160, Open = 2, Write = 1;

    private static readonly MachineOptions Small = new() { MemoryBytes = 64 << 20 };

    /// <summary>Each socket waits in the next one's queue and nowhere else: one close closes all of them.</summary>
    [Test]
    public void Sockets_in_sockets_are_closed_without_recursion() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        long before = machine.KernelMemory.Used;
        int carrier = -1;
        for (int i = 0; i < 20_000; i++)
        {
            ulong pair = calls.Pass(0UL);
            Assert.That(calls.Call(SocketPair, 1, 1, 0, pair), Is.Zero);
            (int first, int second) = ((int)calls.Get<uint>(pair), (int)calls.Get<uint>(pair + 4));
            if (carrier >= 0)
                SendFile(calls, first, carrier);
            calls.Call(Close, (ulong)first);
            if (carrier >= 0)
                calls.Call(Close, (ulong)carrier);
            carrier = second;
        }
        Assert.That(calls.Call(Close, (ulong)carrier), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.EqualTo(before));
    });

    private static void SendFile(KernelCalls calls, int socket, int file)
    {
        ulong control = calls.Pass(20, 1UL | 1UL << 32, (ulong)file);
        ulong data = calls.Pass([1]);
        ulong vector = calls.Pass(data, 1);
        Assert.That(calls.Call(SendMessage, (ulong)socket, calls.Pass(0, 0, vector, 1, control, 20, 0), 0), Is.EqualTo(1));
    }

    /// <summary>A name of a file that has one already, and what a symbolic link says, are memory as well.</summary>
    [Test]
    public void Links_of_both_kinds_are_counted_and_come_to_an_end() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int Link = 86, Unlink = 87, Symlink = 88, MakeNode = 133;
        long before = machine.KernelMemory.Used;
        ulong file = calls.Pass("/tmp/file\0"u8.ToArray());
        Assert.That(calls.Call(MakeNode, file, 0x8180, 0), Is.Zero);
        ulong longest = calls.Pass([.. Enumerable.Repeat((byte)'x', 4095), 0]);
        ulong name = calls.Pass("/tmp/0000000\0"u8.ToArray());
        foreach ((int call, ulong target, int most) in ((int, ulong, int)[])[(Link, file, 70_000), (Symlink, longest, 10_000)])
        {
            int made = 0;
            long answer;
            while ((answer = calls.Call(call, target, Named(made))) == 0 && made < most)
                made++;
            Assert.That(answer, Is.EqualTo((long)-Errno.ENOSPC));
            while (made > 0)
                Assert.That(calls.Call(Unlink, Named(--made)), Is.Zero);
        }
        Assert.That(calls.Call(Unlink, file), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.EqualTo(before));

        ulong Named(int number)
        {
            calls.Set(name + 5, System.Text.Encoding.ASCII.GetBytes(number.ToString("d7", System.Globalization.CultureInfo.InvariantCulture)));
            return name;
        }
    });

    /// <summary>The machine's event loop armed them again for a moment that had passed already, and did nothing else any more.</summary>
    [Test]
    public void Timers_of_the_shortest_and_the_longest_period_leave_time_for_others([Values(1, long.MaxValue)] long nanoseconds, [Values] bool deterministic)
    {
        const int TimerFdCreate = 283, TimerFdSet = 286, TimerSet = 223, IntervalSet = 38, Sleep = 35, SignalAction = 13, Read = 0;
        var run = System.Threading.Tasks.Task.Run(() => KernelCalls.Run(Small with { Deterministic = deterministic }, (calls, _) =>
        {
            const ulong Ignore = 1, Alarm = 14;
            ulong period = (ulong)nanoseconds / 1_000_000_000, rest = (ulong)nanoseconds % 1_000_000_000, soon = calls.Pass(0, 2_000_000), id = calls.Pass(0UL);
            ulong timer = calls.Pass(period, rest, 0, 1);
            calls.Call(SignalAction, Alarm, calls.Pass(Ignore, 0, 0, 0), 0, 8);
            ulong file = (ulong)calls.Call(TimerFdCreate, 1, 0);
            Assert.That(calls.Call(TimerFdSet, file, 0, timer, 0), Is.Zero);
            Assert.That(calls.Call(TimerCreate, 1, 0, id), Is.Zero);
            Assert.That(calls.Call(TimerSet, calls.Get<uint>(id), 0, timer, 0), Is.Zero);
            Assert.That(calls.Call(IntervalSet, 0, calls.Pass(period, rest / 1000, 0, 1), 0), Is.Zero);
            for (int i = 0; i < 3; i++)
                Assert.That(calls.Call(Sleep, soon, 0), Is.Zero);
            Assert.That(calls.Call(Read, file, id, 8), Is.EqualTo(8));
            Assert.That(calls.Get<ulong>(id), nanoseconds == 1 ? Is.GreaterThan(1_000_000) : Is.EqualTo(1));
        }));
        Assert.That(run.Wait(TimeSpan.FromSeconds(50)), Is.True, "the machine comes to its end");
    }

    /// <summary>Every instance of a level watches every one of the next: without a bound a poll goes all ways through them.</summary>
    [Test]
    public void A_web_of_epoll_instances_stays_small() => KernelCalls.Run(Small, static (calls, _) =>
    {
        long[] refused = [0, 0, 0, 0];
        int[][] levels = [.. Enumerable.Range(0, 4).Select(_ => Enumerable.Range(0, 40).Select(_ => (int)calls.Call(EpollCreate, 0)).ToArray())];
        ulong interest = calls.Pass(new byte[12]);
        for (int level = 2; level >= 0; level--)
        {
            foreach (int above in levels[level])
                foreach (int below in levels[level + 1])
                    refused[level] += calls.Call(EpollControl, (ulong)above, 1, (ulong)below, interest) == -Errno.EINVAL ? 1 : 0;
        }
        Assert.That(refused[..3], Is.All.EqualTo(40 * (40 - 16)));
    });

    /// <summary>Found by the feed of system calls.</summary>
    [TestCase("/tmp")]
    [TestCase("/etc/passwd")]
    public void A_name_exchanged_with_itself_stays(string name) => KernelCalls.Run(Small, (calls, _) =>
    {
        const int RenameAt2 = 316, Exchange = 2, Access = 21;
        const ulong Here = unchecked((ulong)-100L);
        ulong path = calls.Pass(Encoding.ASCII.GetBytes(name + "\0"));
        Assert.That(calls.Call(RenameAt2, Here, path, Here, path, Exchange), Is.Zero);
        Assert.That(calls.Call(Access, path, 0), Is.Zero);
    });

    [Test]
    public void Empty_packets_fill_a_queue() => KernelCalls.Run(Small, static (calls, _) =>
    {
        const int NonBlockingSeqPacket = 0x805;
        ulong pair = calls.Pass(0UL);
        Assert.That(calls.Call(SocketPair, 1, NonBlockingSeqPacket, 0, pair), Is.Zero);
        long sent = 0;
        ulong message = calls.Pass(0, 0, 0, 0, 0, 0, 0);
        while (sent < 100_000 && calls.Call(SendMessage, calls.Get<uint>(pair), message, 0) >= 0)
            sent++;
        Assert.That(sent, Is.InRange(1, 10_000));
    });

    [Test]
    public void Messages_without_bytes_do_not_fill_the_host() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int NoWait = 0x800, RemoveId = 0, MessageControl = 71;
        ulong text = calls.Pass(1, 0);
        var queues = new List<ulong>();
        long error = 0;
        while (error == 0 && queues.Count < 1000)
        {
            queues.Add((ulong)calls.Call(MessageGet, 0, 0x1FF));
            do
                error = calls.Call(MessageSend, queues[^1], text, 0, NoWait);
            while (error == 0);
            error = error == -Errno.EAGAIN ? 0 : error;
        }
        Assert.That(error, Is.EqualTo(-Errno.ENOMEM));
        Assert.That(machine.KernelMemory.Used, Is.LessThanOrEqualTo(machine.KernelMemory.Limit));
        foreach (ulong queue in queues)
            calls.Call(MessageControl, queue, RemoveId, 0);
        Assert.That(machine.KernelMemory.Used, Is.LessThan(machine.KernelMemory.Limit / 100));
    });

    /// <summary>Calls that make something, again and again: each ends with an error of its own, and the machine has a bound for all.</summary>
    [TestCase("files", -Errno.ENFILE)]
    [TestCase("names", -Errno.ENOSPC)]
    [TestCase("timers", -Errno.EAGAIN)]
    [TestCase("watches", -Errno.ENOSPC)]
    [TestCase("locks", -Errno.ENOLCK)]
    [TestCase("pipes", -Errno.ENOMEM)]
    public void What_a_program_makes_has_an_end(string kind, int expected) => KernelCalls.Run(Small, (calls, machine) =>
    {
        const ulong OpenFiles = 7;
        calls.Call(SetLimit, OpenFiles, calls.Pass(1 << 20, 1 << 20));
        Func<int, long> make = Maker(kind, calls);
        long r = 0;
        for (int i = 0; r >= 0 && i < 2_000_000; i++)
            r = make(i);
        Assert.That(r, Is.EqualTo(expected));
        Assert.That(machine.KernelMemory.Used, Is.LessThanOrEqualTo(machine.KernelMemory.Limit + KernelMemory.FileLock));
    });

    private static Func<int, long> Maker(string kind, KernelCalls calls)
    {
        const int ReadWriteCreate = 0x42, SetLock = 6;
        switch (kind)
        {
            case "files":
                ulong device = calls.Pass("/dev/null\0"u8.ToArray());
                return _ => calls.Call(Open, device, 0, 0);
            case "names":
                return i => calls.Call(MakeDirectory, calls.Pass(Encoding.ASCII.GetBytes($"/tmp/{i}\0")), 0x1FF);
            case "timers":
                ulong id = calls.Pass(0UL);
                return _ => calls.Call(TimerCreate, 0, 0, id);
            case "watches":
                ulong socket = (ulong)calls.Call(Socket, 1, 1, 0), interest = calls.Pass(new byte[12]);
                ulong epoll = (ulong)calls.Call(EpollCreate, 0);
                return i => i % 1000 != 999 ? Watch(i) : (long)(epoll = (ulong)calls.Call(EpollCreate, 0));
                long Watch(int i) => calls.Call(Dup2, socket, (ulong)(100_000 + i)) is < 0 and var error ? error : calls.Call(EpollControl, epoll, 1, (ulong)(100_000 + i), interest);
            case "locks":
                ulong file = (ulong)calls.Call(Open, calls.Pass("/tmp/locked\0"u8.ToArray()), ReadWriteCreate, 0x1FF);
                for (int i = 0; i < 1000; i++)
                    calls.Call(MakeDirectory, calls.Pass(Encoding.ASCII.GetBytes($"/tmp/{i}\0")), 0x1FF);
                FillMemory(calls);
                return i => calls.Call(Fcntl, file, SetLock, calls.Pass(1UL, (ulong)i * 2, 1, 0));
            default:
                ulong pair = calls.Pass(0UL), data = calls.Pass(new byte[60_000]);
                return _ => calls.Call(Pipe, pair) is < 0 and var refused ? refused : calls.Call(Write, calls.Get<uint>(pair + 4), data, 60_000);
        }
    }

    /// <summary>All but a little of what the kernel may have: locks are kept in a list, which many make slow.</summary>
    private static void FillMemory(KernelCalls calls)
    {
        ulong id = calls.Pass(0UL);
        while (calls.Call(TimerCreate, 0, 0, id) == 0)
        {
        }
    }

    /// <summary>As after a write through a translation that a wrong policy left in a TLB, to a frame that has become a table.</summary>
    [Test]
    public unsafe void What_a_page_table_holds_leads_nowhere_but_into_memory()
    {
        using var stand = new MemoryStand(check: false);
        Kernel.Memory.Mm mm = stand.Create();
        ulong at = (ulong)mm.Mmap(null, 0, 4096, 3, 0x22, null, 0);
        Assert.That(stand.Access(mm, at, write: true, out _), Is.EqualTo(FaultOutcome.Done));
        ulong* top = (ulong*)stand.Pages.Memory.Pointer(mm.Root) + PageTable.Index(at, PageTable.RootLevel);
        ulong* leaf = mm.Tables.Find(at);
        (ulong table, ulong page) = (*top, *leaf);
        const ulong Anything = 0x000F_FFFF_FFFF_F000;
        *top = table | Anything;
        Assert.That(() => mm.Tables.Find(at) is null, Throws.InstanceOf<ArgumentOutOfRangeException>());
        *top = table;
        *leaf = page | Anything;
        Assert.That(() => mm.ReadMemory(null, at, new byte[1]), Throws.InstanceOf<InvalidOperationException>());
        *leaf = page;
        Assert.That(() => stand.Pages.Memory.BeforeWrite(new Pfn(Anything >> Pfn.Shift)), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void A_file_whose_descriptor_cannot_be_copied_is_not_mapped()
    {
        using var stand = new MemoryStand(check: false);
        Assert.That(HostPageCache.TryCreate(stand.Pages, fd: -1), Is.Null);
    }

    /// <summary>On the stack that a task's thread has: each generation's memory belongs to all those before it.</summary>
    [Test]
    public void Processes_that_fork_one_another_may_be_many()
    {
        (int count, long used) = (0, 0);
        var thread = new Thread(() => (count, used) = ForkInTurn(1200), 128 << 10);
        thread.Start();
        thread.Join();
        Assert.That(count, Is.EqualTo(1200));
        Assert.That(used, Is.GreaterThan(count * (count - 1L) / 2 * KernelMemory.Chain));
    }

    private static unsafe (int Count, long Used) ForkInTurn(int generations)
    {
        using var stand = new MemoryStand(check: false);
        List<Kernel.Memory.Mm> family = [stand.Create()];
        ulong at = (ulong)family[0].Mmap(null, 0, 4096, 3, 0x22, null, 0);
        stand.Access(family[0], at, write: true, out _);
        long before = stand.System.KernelMemory.Used;
        while (family.Count < generations && family[^1].Fork(null) is { } child)
            family.Add(child);
        long used = stand.System.KernelMemory.Used - before;
        family.Reverse();
        foreach (Kernel.Memory.Mm mm in family)
            mm.Put(null);
        return (family.Count, used);
    }

    [Test]
    public void What_semaphores_undo_is_counted_in_the_kernels_memory() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int Get = 64, Operate = 65, Control = 66, RemoveId = 0, Count = 10_000;
        ulong set = (ulong)calls.Call(Get, 0, Count, 0x3FF);
        long before = machine.KernelMemory.Used;
        Assert.That(calls.Call(Operate, set, calls.Pass(0x1000_0001_0000UL), 1), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.EqualTo(before + Count * sizeof(int)));
        Assert.That(calls.Call(Control, set, 0, RemoveId), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.EqualTo(before));
    });

    [Test]
    public void Signals_that_wait_are_counted_in_the_kernels_memory()
    {
        var memory = new KernelMemory(10 * KernelMemory.Signal);
        var pending = new PendingSignals(memory);
        int sent = 0;
        for (; pending.CanQueue(63_000); sent++)
            pending.Add(new SignalInfo(Signal.SIGRTMIN, SignalInfo.SI_USER));
        Assert.That(sent, Is.EqualTo(10));
        Assert.That(pending.Take(ulong.MaxValue), Is.Not.Null);
        Assert.That(memory.Used, Is.EqualTo(9 * KernelMemory.Signal));
        pending.Discard(ulong.MaxValue);
        Assert.That(memory.Used, Is.Zero);
    }

    /// <summary>An open directory keeps its entries, and a generated file its text: many of them of one large thing are much.</summary>
    [TestCase("/tmp")]
    [TestCase("/proc/self/maps")]
    public void What_open_files_keep_to_be_read_has_an_end(string name) => KernelCalls.Run(Small, (calls, machine) =>
    {
        const int Read = 0, GetEntries = 217;
        bool directory = name == "/tmp";
        for (int i = 0; directory && i < 2000; i++)
            calls.Call(MakeDirectory, calls.Pass(Encoding.ASCII.GetBytes($"/tmp/{i}\0")), 0x1FF);
        ulong at = (ulong)calls.Call(Mmap, 0, 0x80_0000, 3, 0x4022, ulong.MaxValue, 0);
        for (ulong page = 0; page < 0x80_0000; page += 0x2000)
            calls.Call(Mprotect, at + page, 0x1000, 1);
        calls.Call(SetLimit, 7, calls.Pass(1 << 20, 1 << 20));
        ulong path = calls.Pass(Encoding.ASCII.GetBytes(name + "\0")), buffer = calls.Pass(new byte[512]);
        long before = machine.KernelMemory.Used, r = 0;
        var files = new List<ulong>();
        while (r >= 0 && files.Count < 20_000)
        {
            files.Add((ulong)calls.Call(Open, path, 0, 0));
            r = calls.Call(directory ? GetEntries : Read, files[^1], buffer, 512);
        }
        Assert.That(r, Is.EqualTo(-Errno.ENOMEM));
        foreach (ulong file in files)
            calls.Call(Close, file);
        Assert.That(machine.KernelMemory.Used, Is.LessThanOrEqualTo(before + (1 << 20) * KernelMemory.Descriptor));
    });

    /// <summary>Exported and imported again and again, the work under way with a buffer would double each time.</summary>
    [Test]
    public void A_fence_waits_once_in_a_buffer() => KernelCalls.Run(Small, static (_, machine) =>
    {
        var resv = new DmaResv(machine.DmaBufs.FenceMap);
        var fence = new DmaFence();
        resv.Add(fence, DmaResvUsage.Read);
        for (int i = 0; i < 3; i++)
        {
            foreach (DmaFence exported in resv.Pending(DmaResvUsage.Read))
                resv.Add(exported, DmaResvUsage.Write);
        }
        Assert.That(resv.Pending(DmaResvUsage.Write), Is.EqualTo(new[] { fence }));
    });

    [Test]
    public void What_waits_between_a_device_and_a_program_is_counted_in_the_kernels_memory() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int Ioctl = 16;
        const ulong Size = 64 << 20;
        ulong device = (ulong)calls.Call(Open, calls.Pass("/dev/hmm_dmirror0\0"u8.ToArray()), 2, 0);
        ulong at = (ulong)calls.Call(Mmap, 0, Size, 3, 0x4022, ulong.MaxValue, 0);
        long before = machine.KernelMemory.Used;
        Assert.That(calls.Call(Ioctl, device, (ulong)DmirrorIoctl.Read, calls.Pass(at, at, Size >> 12, 0, 0)), Is.EqualTo(-Errno.ENOMEM));
        Assert.That(machine.KernelMemory.Used, Is.EqualTo(before));
        Assert.That(calls.Call(Ioctl, device, (ulong)DmirrorIoctl.Read, calls.Pass(at, at, 4, 0, 0)), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.EqualTo(before + KernelMemory.MirrorBlock));
        Assert.That(calls.Call(Close, device), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.LessThan(before));
    });

    /// <summary>A machine's end cuts tasks short that have files of the host open, and mapped.</summary>
    [Test]
    public void A_machine_that_is_stopped_closes_the_hosts_files()
    {
        string folder = Directory.CreateTempSubdirectory("bounds-").FullName;
        File.WriteAllBytes($"{folder}/file", new byte[8192]);
        KernelCalls.Run(Small with { Binds = [new Bind(folder, "/g")] }, static (calls, machine) =>
        {
            Assert.That(calls.Call(Open, calls.Pass("/g/file\0"u8.ToArray()), 2, 0), Is.Zero);
            ulong at = (ulong)calls.Call(Mmap, 0, 4096, 3, 1, 0, 0);
            Assert.That(machine.CurrentTask!.CopyToUserBytes(at, [1]), Is.True);
            FdTable files = machine.CurrentTask!.Files.Share();
            Assert.That(files.IsShared, Is.True, "somebody has the descriptors still when the machine goes");
        });
        IEnumerable<string?> open = Directory.GetFiles("/proc/self/fd").Select(static fd => new FileInfo(fd).LinkTarget);
        Assert.That(open.Where(target => target?.StartsWith($"{folder}/", StringComparison.Ordinal) == true), Is.Empty);
        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void Mappings_are_counted_in_the_kernels_memory() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        long before = machine.KernelMemory.Used;
        ulong at = (ulong)calls.Call(Mmap, 0, 0x200_0000, 3, 0x4022, ulong.MaxValue, 0);
        for (ulong page = 0; page < 0x200_0000; page += 0x2000)
            Assert.That(calls.Call(Mprotect, at + page, 0x1000, 1), Is.Zero);
        Assert.That(machine.KernelMemory.Used - before, Is.GreaterThan(8000 * KernelMemory.Mapping));
        Assert.That(calls.Call(11, at, 0x200_0000), Is.Zero);
        Assert.That(machine.KernelMemory.Used, Is.LessThanOrEqualTo(before + KernelMemory.Mapping));
    });

    /// <summary>A table of 65,535 sections, all of them the same large symbol table with one long name.</summary>
    [Test]
    public void Symbols_of_a_hostile_file_cost_little()
    {
        using var stand = new MemoryStand(bytes: 64 << 20, check: false);
        const int Sections = 0xFFFF, TableSize = 8 << 20, NamesSize = 1 << 20;
        byte[] image = new byte[0x1000 + Sections * 64 + TableSize + NamesSize];
        ProgramBuilder.Static().CopyTo(image, 0);
        ProgramBuilder.Put64(image, 40, 0x1000);
        ProgramBuilder.Put16(image, 58, 64);
        ProgramBuilder.Put16(image, 60, Sections);
        int table = 0x1000 + Sections * 64, names = table + TableSize;
        for (int i = 0; i < Sections; i++)
        {
            int section = 0x1000 + i * 64;
            ProgramBuilder.Put32(image, section + 4, i == 0 ? 3U : 2);
            ProgramBuilder.Put64(image, section + 24, (ulong)(i == 0 ? names : table));
            ProgramBuilder.Put64(image, section + 32, (ulong)(i == 0 ? NamesSize : TableSize));
        }
        for (int at = table; at + 24 <= names; at += 24)
        {
            ProgramBuilder.Put32(image, at, 1);
            image[at + 4] = 2;
            ProgramBuilder.Put16(image, at + 6, 1);
            ProgramBuilder.Put64(image, at + 8, 0x1000);
        }
        image.AsSpan(names, NamesSize - 1).Fill((byte)'x');
        image[names + 4000] = 0;
        var cache = new ShmemPageCache(stand.Pages);
        cache.Write(0, image, task: null);
        long before = GC.GetAllocatedBytesForCurrentThread();
        SymbolTable.Read(cache);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1L << 30));
        cache.Free();
    }

    /// <summary>What the emulator's own mistake would reach first.</summary>
    [Test]
    public unsafe void Nothing_lies_beside_a_machines_memory()
    {
        using var stand = new MemoryStand(bytes: 64 << 20, check: false);
        ulong start = (ulong)stand.Pages.Memory.Base, end = start + stand.Pages.Memory.Bytes;
        (ulong Start, ulong End, string Rights)[] maps = [.. File.ReadAllLines("/proc/self/maps").Select(static line => line.Split(' ')).Select(static words =>
            (Convert.ToUInt64(words[0].Split('-')[0], 16), Convert.ToUInt64(words[0].Split('-')[1], 16), words[1]))];
        string[] Rights(ulong address) => [.. maps.Where(m => m.Start <= address && address < m.End).Select(static m => m.Rights)];
        Assert.That((string[][])[Rights(start - 1), Rights(start), Rights(end - 1), Rights(end)], Is.EqualTo((string[][])[["---p"], ["rw-p"], ["rw-p"], ["---p"]]));
    }

    [Test]
    public void Numbers_of_unknown_calls_are_not_all_kept()
    {
        KernelCalls.Run(Small, static (_, machine) =>
        {
            for (ulong number = 5000; number < 10_000; number++)
                machine.UnknownSyscall(machine.CurrentTask!, number, default);
            Assert.That(machine.UnknownSyscalls, Has.Count.LessThan(1000));
            Assert.That(machine.UnknownSyscalls.Values.Sum(), Is.EqualTo(5000));
        });
    }
}

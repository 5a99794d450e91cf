using System.Buffers.Binary;
using System.Text;
using Emulator.Tests.Loader;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Fuzz;

/// <summary>
/// The program that does a batch's cases. It opens what the cases use, then forks workers until all cases are done: each worker has several threads
/// that take one case after the other from a shared counter, so whatever a case does to its process (unmap it, execute something else, kill it) costs the next case nothing.
/// Before each case a thread takes back what the cases before may have done to signals; a timer ends whatever waits.
/// </summary>
internal static class FuzzGuest
{
    public const ulong CodeBase = 0x40_0000, DataBase = 0x60_0000;

    /// <summary>Memory that cases play with: 64 pages, then a hole.</summary>
    public const ulong Arena = 0x1000_0000;
    public const int ArenaPages = 64;

    public const int BlobSize = 384;

    /// <summary>The exit status when all cases are done and every process but the first is gone.</summary>
    public const int CleanEnd = 77;

    /// <summary>The first of the guest's words: only with it the program runs, so that a case which executes it again ends at once.</summary>
    public static readonly byte[] Name = "~fuzz"u8.ToArray();

    private const ulong Mask = DataBase, AlarmAction = DataBase + 0x40, FaultAction = DataBase + 0x80, WorkerTimer = DataBase + 0xC0,
        SupervisorTimer = DataBase + 0x100, ThreadIds = DataBase + 0x180, Setup = DataBase + 0x1000, Strings = DataBase + 0x4000, Table = DataBase + 0x8000;

    /// <summary>The page with the counter of cases, shared by all workers.</summary>
    public const ulong Shared = 0x7000_0000;

    private const int MaxSetup = 0x3000 / RecordSize, StringRoom = 0x4000, RecordSize = 64, StackSize = 0x4000;
    private const int SIGALRM = 14, SIGSEGV = 11, SIGBUS = 7, SIGUSR1 = 10, SIGKILL = 9;
    private const uint SA_RESTORER = 0x0400_0000, SA_NODEFER = 0x4000_0000, SA_SIGINFO = 4;

    public static ulong BlobOf(int count, int index) => Table + (ulong)count * RecordSize + (ulong)(index * BlobSize);

    /// <summary>Where a string of <see cref="FuzzWorld.Strings"/> lies.</summary>
    public static ulong StringAt(int offset) => Strings + (ulong)offset;

    /// <summary>The index of the case that a thread with this R12 is about, or -1.</summary>
    public static int CaseOf(ulong r12, int count) =>
        r12 >= Table && r12 < Table + (ulong)count * RecordSize && (r12 - Table) % RecordSize == 0 ? (int)((r12 - Table) / RecordSize) : -1;

    /// <summary>The number of the setup call whose record R12 points to, or -1.</summary>
    public static int SetupOf(ulong r12) => r12 is >= Setup and < Setup + MaxSetup * RecordSize ? (int)((r12 - Setup) / RecordSize) : -1;

    /// <summary>The program file.</summary>
    /// <param name="world">What it opens.</param>
    /// <param name="cases">What it does.</param>
    /// <param name="threads">Of each worker.</param>
    public static byte[] Build(FuzzWorld world, IReadOnlyList<FuzzCase> cases, int threads)
    {
        byte[] code = Assemble(cases.Count, threads, world.OomScore);
        int dataLength = (int)(BlobOf(cases.Count, cases.Count) - DataBase);
        ulong stacks = (DataBase + (ulong)dataLength + 0xFFF) & ~0xFFFUL;
        byte[] image = new byte[0x2000 + dataLength];
        ProgramBuilder.Static().AsSpan(0, 64).CopyTo(image);
        ProgramBuilder.Put64(image, 24, CodeBase + 0x1000);
        ProgramBuilder.Put16(image, 56, 2);
        ProgramBuilder.PutSegment(image, 0, type: 1, flags: 5, 0, CodeBase, 0x2000, 0x2000);
        ProgramBuilder.PutSegment(image, 1, type: 1, flags: 7, 0x2000, DataBase, (ulong)dataLength, stacks - DataBase + (ulong)(threads * StackSize));
        code.CopyTo(image, 0x1000);
        Span<byte> data = image.AsSpan(0x2000);
        "999"u8.CopyTo(data[16..]);
        PutTimer(data[0xC0..], microseconds: 1000);
        PutTimer(data[0x100..], microseconds: 20_000);
        PutRecords(data[0x1000..], world.Setup);
        if (world.Setup.Count >= MaxSetup || world.Strings.Length > StringRoom)
            throw new InvalidOperationException("There is too much to prepare.");
        world.Strings.CopyTo(data[0x4000..]);
        PutRecords(data[0x8000..], cases);
        for (int i = 0; i < cases.Count; i++)
            cases[i].Blob.CopyTo(data[(int)(BlobOf(cases.Count, i) - DataBase)..]);
        return image;
    }

    private static void PutTimer(Span<byte> at, long microseconds)
    {
        BinaryPrimitives.WriteInt64LittleEndian(at[8..], microseconds);
        BinaryPrimitives.WriteInt64LittleEndian(at[24..], microseconds);
    }

    private static void PutRecords(Span<byte> at, IReadOnlyList<FuzzCase> cases)
    {
        for (int i = 0; i < cases.Count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(at[(i * RecordSize)..], cases[i].Operation);
            for (int a = 0; a < 6; a++)
                BinaryPrimitives.WriteUInt64LittleEndian(at[(i * RecordSize + 8 + a * 8)..], cases[i].Arguments[a]);
        }
        if (at.Length >= (cases.Count + 1) * RecordSize)
            BinaryPrimitives.WriteInt64LittleEndian(at[(cases.Count * RecordSize)..], -1);
    }

    private static byte[] Assemble(int count, int threads, ulong oomScore)
    {
        var a = new Assembler(64);
        Label refuse = a.CreateLabel(), supervise = a.CreateLabel(), worker = a.CreateLabel(), alarm = a.CreateLabel(), fault = a.CreateLabel(), restore = a.CreateLabel();
        a.cmp(__qword_ptr[rsp], 1);
        a.jne(refuse);
        a.mov(rbx, __qword_ptr[rsp + 8]);
        a.cmp(__byte_ptr[rbx], Name[0]);
        a.jne(refuse);
        SetAction(a, AlarmAction, alarm, restore, SA_RESTORER);
        SetAction(a, FaultAction, fault, restore, SA_RESTORER | SA_NODEFER | SA_SIGINFO);
        Call(a, 9, Shared, 4096, 3, 0x31, ulong.MaxValue, 0);
        Prepare(a);
        Supervise(a, supervise, worker, refuse, count);
        Work(a, worker, count, threads, oomScore);
        Handlers(a, alarm, fault, restore, refuse, threads);
        using var code = new MemoryStream();
        a.Assemble(new StreamCodeWriter(code), CodeBase + 0x1000);
        return code.Length <= 0x1000 ? code.ToArray() : throw new InvalidOperationException("The program does not fit its page.");
    }

    private static void SetAction(Assembler a, ulong action, Label handler, Label restore, uint flags)
    {
        a.mov(rbx, action);
        a.lea(rax, __[handler]);
        a.mov(__qword_ptr[rbx], rax);
        a.mov(eax, flags);
        a.mov(__qword_ptr[rbx + 8], rax);
        a.lea(rax, __[restore]);
        a.mov(__qword_ptr[rbx + 16], rax);
    }

    private static void Call(Assembler a, int number, params ulong[] arguments)
    {
        AssemblerRegister64[] registers = [rdi, rsi, rdx, r10, r8, r9];
        for (int i = 0; i < arguments.Length; i++)
            a.mov(registers[i], arguments[i]);
        a.mov(eax, number);
        a.syscall();
    }

    /// <summary>The calls of the setup table, one after the other.</summary>
    private static void Prepare(Assembler a)
    {
        Label next = a.CreateLabel(), done = a.CreateLabel();
        a.mov(r12, Setup);
        a.Label(ref next);
        a.cmp(__qword_ptr[r12], -1);
        a.je(done);
        LoadArguments(a);
        a.mov(rax, __qword_ptr[r12]);
        a.syscall();
        a.add(r12, RecordSize);
        a.jmp(next);
        a.Label(ref done);
        a.xor(r12d, r12d);
    }

    private static void LoadArguments(Assembler a)
    {
        a.mov(rdi, __qword_ptr[r12 + 8]);
        a.mov(rsi, __qword_ptr[r12 + 16]);
        a.mov(rdx, __qword_ptr[r12 + 24]);
        a.mov(r10, __qword_ptr[r12 + 32]);
        a.mov(r8, __qword_ptr[r12 + 40]);
        a.mov(r9, __qword_ptr[r12 + 48]);
    }

    /// <summary>
    /// Forks a worker and waits for it; one that has taken no case between two ticks is killed. Each worker counts for a case at least: one that clears the
    /// counter before it kills its process would make the workers do the same cases for ever.
    /// </summary>
    private static void Supervise(Assembler a, Label supervise, Label worker, Label refuse, int count)
    {
        Label wait = a.CreateLabel(), reaped = a.CreateLabel();
        Call(a, 157, 36, 1); // PR_SET_CHILD_SUBREAPER
        Call(a, 13, SIGALRM, AlarmAction, 0, 8);
        Call(a, 38, 0, SupervisorTimer, 0);
        a.xor(r15d, r15d);
        a.Label(ref supervise);
        Call(a, 57);
        a.test(rax, rax);
        a.jz(worker);
        a.js(refuse);
        a.mov(ebx, eax);
        a.Label(ref wait);
        a.mov(r13, Shared);
        a.mov(r13, __qword_ptr[r13]);
        a.mov(edi, ebx);
        a.xor(esi, esi);
        a.mov(edx, 0x4000_0000); // __WALL
        a.xor(r10d, r10d);
        a.mov(eax, 61);
        a.syscall();
        a.cmp(rax, -4);
        a.jne(reaped);
        a.mov(rax, Shared);
        a.cmp(__qword_ptr[rax], r13);
        a.jne(wait);
        a.mov(edi, ebx);
        a.mov(esi, SIGKILL);
        a.mov(eax, 62);
        a.syscall();
        a.jmp(wait);
        a.Label(ref reaped);
        Label further = a.CreateLabel();
        a.mov(rax, Shared);
        a.cmp(__qword_ptr[rax], r15);
        a.ja(further);
        a.inc(r15);
        a.mov(__qword_ptr[rax], r15);
        a.Label(ref further);
        a.mov(r15, __qword_ptr[rax]);
        a.cmp(__qword_ptr[rax], count);
        a.jb(supervise);
        // Everybody goes before the machine does, so that what is left then is a leak.
        Label collect = a.CreateLabel();
        Call(a, 62, ulong.MaxValue, SIGKILL);
        a.Label(ref collect);
        Call(a, 61, ulong.MaxValue, 0, 0x4000_0000, 0);
        a.cmp(rax, -10);
        a.jne(collect);
        Call(a, 231, CleanEnd);
        a.Label(ref refuse);
        Call(a, 231, 0);
    }

    private static void Work(Assembler a, Label worker, int count, int threads, ulong oomScore)
    {
        Label loop = a.CreateLabel(), done = a.CreateLabel(), load = a.CreateLabel(), store = a.CreateLabel(), copy = a.CreateLabel(), execute = a.CreateLabel();
        ulong stacks = (BlobOf(count, count) + 0xFFF) & ~0xFFFUL;
        a.Label(ref worker);
        Call(a, 112); // setsid: kill(0, ...) of a case is to reach the worker's descendants only
        // The first to be killed for want of memory: the supervisor is to go on.
        Call(a, 2, oomScore, 1, 0);
        a.mov(ebx, eax);
        a.mov(edi, eax);
        a.mov(rsi, Mask + 16);
        a.mov(edx, 3);
        a.mov(eax, 1);
        a.syscall();
        a.mov(edi, ebx);
        a.mov(eax, 3);
        a.syscall();
        for (int i = 1; i < threads; i++)
        {
            Call(a, 56, 0x5_0F00, stacks + (ulong)((i + 1) * StackSize), 0, 0, 0);
            a.test(rax, rax);
            a.jz(loop);
            a.mov(rbx, ThreadIds + (ulong)(i * 8));
            a.mov(__qword_ptr[rbx], rax);
        }
        a.Label(ref loop);
        a.xor(r14d, r14d);
        a.mov(rbx, Shared);
        a.mov(eax, 1);
        a.@lock.xadd(__qword_ptr[rbx], rax);
        a.cmp(rax, count);
        a.jae(done);
        a.shl(rax, 6);
        a.mov(r12, Table);
        a.add(r12, rax);
        Call(a, 14, 2, Mask, 0, 8);
        Call(a, 13, SIGALRM, AlarmAction, 0, 8);
        Call(a, 13, SIGUSR1, AlarmAction, 0, 8);
        Call(a, 13, SIGSEGV, FaultAction, 0, 8);
        Call(a, 13, SIGBUS, FaultAction, 0, 8);
        Call(a, 38, 0, WorkerTimer, 0);
        LoadArguments(a);
        a.mov(rax, __qword_ptr[r12]);
        a.cmp(eax, FuzzCase.Load);
        a.je(load);
        a.cmp(eax, FuzzCase.Store);
        a.je(store);
        a.cmp(eax, FuzzCase.Copy);
        a.je(copy);
        a.cmp(eax, FuzzCase.Execute);
        a.je(execute);
        a.syscall();
        a.jmp(loop);
        a.Label(ref load);
        a.lea(r14, __[loop]);
        a.mov(al, __byte_ptr[rdi]);
        a.jmp(loop);
        a.Label(ref store);
        a.lea(r14, __[loop]);
        a.mov(__byte_ptr[rdi], al);
        a.jmp(loop);
        a.Label(ref copy);
        a.lea(r14, __[loop]);
        a.mov(rcx, rdx);
        a.rep.movsb();
        a.jmp(loop);
        a.Label(ref execute);
        a.call(rdi);
        a.jmp(loop);
        a.Label(ref done);
        Call(a, 231, 0);
    }

    private static void Handlers(Assembler a, Label alarm, Label fault, Label restore, Label refuse, int threads)
    {
        const int RipInContext = 168; // uc_mcontext.gregs[REG_RIP]
        Label leave = a.CreateLabel();
        // The tick goes on to the other threads, each of which may be waiting for something that never comes.
        a.Label(ref alarm);
        a.cmp(edi, SIGALRM);
        a.jne(leave);
        Call(a, 39);
        a.mov(r15, rax);
        for (int i = 1; i < threads; i++)
        {
            a.mov(rdi, r15);
            a.mov(rsi, ThreadIds + (ulong)(i * 8));
            a.mov(rsi, __qword_ptr[rsi]);
            a.mov(edx, SIGUSR1);
            a.mov(eax, 234);
            a.syscall();
        }
        a.Label(ref leave);
        a.ret();
        // An access of a case goes on with the next case; anything else is the end of the worker.
        a.Label(ref fault);
        a.test(r14, r14);
        a.jz(refuse);
        a.mov(__qword_ptr[rdx + RipInContext], r14);
        a.ret();
        a.Label(ref restore);
        Call(a, 15);
    }
}

using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Fuzz;

/// <summary>
/// Random code on a vCPU, with the kernel's faults behind it: it ends in any way it likes, but soon, without an exception in C#, and with all of its memory where it was.
/// A case is one piece of code, run from random registers until it leaves the guest for good or has had its instructions.
/// </summary>
[Platform("Linux")]
public sealed unsafe class CodeFuzzTests
{
    private const int FirstSeed = 64, RandomShards = 2, ModifyingShards = 2, RandomShare = 24_000, ModifyingShare = 6_000;
    private const ulong Code = 0x40_0000, Data = 0x80_0000;
    private const int CodeLength = 0x2000, DataLength = 0x4000, CasesPerMachine = 500;

    /// <summary>Instructions of a case, and ways out of guest code that it may take.</summary>
    private const long Instructions = 1000;
    private const int Exits = 40;

    /// <summary>In one of so many cases a second vCPU runs the same code: where both write to it, each instruction costs an interrupt.</summary>
    private const int CasesForOneShared = 8;

    [Test]
    public void Random_bytes_are_executed_or_refused([Range(0, RandomShards - 1)] int shard) =>
        Run(FirstSeed + shard, FuzzSettings.Quota(RandomShare, RandomShards), vcpus: 1, static (task, machine, seed) => RunRandom(task, machine, new CodeGenerator(seed)));

    [Test]
    public void Code_that_changes_itself_is_executed_or_refused([Range(0, ModifyingShards - 1)] int shard) =>
        Run(FirstSeed + RandomShards + shard, FuzzSettings.Quota(ModifyingShare, ModifyingShards), vcpus: 2, RunModifying);

    /// <summary>As the test, for who measures it.</summary>
    internal static void RunModifyingCode(int shard, long cases) => Run(shard, cases, vcpus: 2, RunModifying);

    private static void Run(int shard, long quota, int vcpus, Action<Task, Machine, int> runCase)
    {
        long batch = 0;
        for (long done = 0; done < quota; done += CasesPerMachine, batch++)
        {
            ulong seed = FuzzSettings.Replay ?? FuzzSettings.SeedOf(shard, batch);
            int current = 0;
            try
            {
                RunMachine(vcpus, seed, Math.Min(CasesPerMachine, quota - done), runCase, ref current);
            }
#pragma warning disable CA1031 // Whatever escapes is what the suite looks for.
            catch (Exception e) when (e is not SuccessException)
#pragma warning restore CA1031
            {
                Assert.Fail($"seed {seed}, case {current}: {e}\nagain, alone: EMULATOR_FUZZ_REPLAY={seed} dotnet test -c Release tests --filter FullyQualifiedName~{TestContext.CurrentContext.Test.ClassName}.{TestContext.CurrentContext.Test.MethodName}");
            }
            if (FuzzSettings.Replay is not null)
                return;
        }
    }

    private static void RunMachine(int vcpus, ulong seed, long cases, Action<Task, Machine, int> runCase, ref int current)
    {
        using var machine = new Machine(new MachineOptions { Vcpus = vcpus, MemoryBytes = 16 << 20, Timeout = TimeSpan.FromSeconds(120), LockDep = true, Check = seed % 8 == 0, Seed = seed });
        int done = 0;
        try
        {
            machine.Run(task =>
            {
                Map(task, Code, CodeLength);
                Map(task, Data, DataLength);
                for (; done < cases; done++)
                {
                    long frames = machine.Pages.UsedFrames;
                    runCase(task, machine, unchecked((int)(seed * 1_000_003) + done));
                    Assert.That(machine.Pages.UsedFrames, Is.EqualTo(frames), "frames");
                }
                Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
                Assert.That(new TlbChecker(machine.MemorySystem, machine.Platform.Vcpus).Check(), Is.Empty);
            });
        }
        finally
        {
            current = done;
        }
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static void Map(Task task, ulong address, int length)
    {
        const int ReadWriteExecute = 7, PrivateFixedAnonymous = 0x32;
        Assert.That(task.Mm.Mmap(task, address, (ulong)length, ReadWriteExecute, PrivateFixedAnonymous, null, 0), Is.EqualTo((long)address));
        Assert.That(task.CopyToUser(address, new byte[length]), Is.True);
    }

    private static void RunRandom(Task task, Machine machine, CodeGenerator generator)
    {
        byte[] code = generator.Next(64);
        Assert.That(task.CopyToUser(Code + 0xFE0, code), Is.True);
        SetRegisters(task, generator.Random, Code + 0xFE0 + (ulong)generator.Random.Next(8));
        Execute(task, machine);
    }

    /// <summary>The code changes itself, and the kernel changes it, sometimes while another vCPU does the same.</summary>
    private static void RunModifying(Task task, Machine machine, int seed)
    {
        var generator = new CodeGenerator(seed);
        byte[] code = generator.SelfModifying(Code + 0xF00, 0x1000, Data);
        Assert.That(task.CopyToUser(Code + 0xF00, code), Is.True);
        KernelThread? other = generator.Random.Next(CasesForOneShared) != 0 ? null : machine.Spawn(thread =>
        {
            SetRegisters(thread, new Random(seed + 1), Code + 0xF00);
            Execute(thread, machine);
        }, task.Mm);
        SetRegisters(task, generator.Random, Code + 0xF00);
        Execute(task, machine);
        Assert.That(task.CopyToUser(Code + 0xF00 + (ulong)generator.Random.Next(200), generator.Next(16)), Is.True);
        Execute(task, machine);
        other?.Join(task);
    }

    private static void SetRegisters(Task task, Random random, ulong rip)
    {
        VcpuRegisters* r = task.Registers;
        for (int i = 0; i < 16; i++)
        {
            r->Gpr[i] = random.Next(8) switch
            {
                0 => (ulong)random.NextInt64(),
                1 => (ulong)random.Next(64),
                2 => Code + (ulong)random.Next(CodeLength),
                3 => unchecked((ulong)-random.Next(64)),
                _ => Data + (ulong)random.Next(DataLength),
            };
        }
        r->Gpr[VcpuRegisters.Rsp] = random.Next(20) == 0 ? (ulong)random.NextInt64() : Data + 0x2000 + (ulong)(random.Next(256) * 8);
        r->Rflags = random.Next(10) == 0 ? (ulong)random.Next(0x1000) & 0xCD5 : 0x202;
        r->Rip = rip;
        r->SetFsBase(Data);
    }

    /// <summary>What a task's loop does, with an end.</summary>
    private static void Execute(Task task, Machine machine)
    {
        long left = Instructions;
        for (int exits = 0; exits < Exits && left > 0; exits++)
        {
            Vcpu vcpu = task.Vcpu!;
            vcpu.State->Budget = left;
            VcpuExit exit = vcpu.Run();
            left = vcpu.State->Budget;
            if (exit == VcpuExit.Exception && !Served(task, vcpu.State))
                return;
            if (exit == VcpuExit.Syscall)
                task.Registers->Gpr[VcpuRegisters.Rax] = unchecked((ulong)-38L);
            if (exit == VcpuExit.Attention)
                vcpu.TakeAttention();
            machine.Scheduler.OnAttention(task);
        }
    }

    private static bool Served(Task task, VcpuState* state)
    {
        const int PageFault = 14;
        if (state->Vector != PageFault)
            return false;
        FaultFlags flags = ((state->ErrorCode & 2) != 0 ? FaultFlags.Write : FaultFlags.Read) | ((state->ErrorCode & 16) != 0 ? FaultFlags.Execute : FaultFlags.Read);
        return task.Mm.HandleFault(task, state->FaultAddress, flags) == FaultOutcome.Done;
    }
}

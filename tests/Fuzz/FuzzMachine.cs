using System.Globalization;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Syscalls;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Fuzz;

/// <summary>What came of a machine that did some cases.</summary>
/// <param name="Executed">For each case, whether it was begun.</param>
/// <param name="Wrong">What must not be, or null.</param>
/// <param name="Status">How the machine ended, if it did.</param>
internal sealed record FuzzOutcome(bool[] Executed, string? Wrong, ExitStatus? Status = null);

/// <summary>One machine for a batch of cases, looked over when it has ended.</summary>
internal sealed class FuzzMachine(FuzzWorld world, FuzzFolder folder)
{
    /// <summary>Far more than any batch takes on a busy host: a batch that needs it hangs.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private const long InstructionLimit = 200_000_000;

    public const int Threads = 3;

    public FuzzOutcome Run(IReadOnlyList<FuzzCase> cases, MachineOptions options)
    {
        string program = folder.Write(FuzzGuest.Build(world, cases, Threads));
        var trace = new Trace(world, cases.Count);
        try
        {
            using var machine = new Machine(options with
            {
                LockDep = true,
                Timeout = Patience,
                MaxInstructions = InstructionLimit,
                Trace = trace,
                Binds = folder.Binds,
                WorkingDirectory = "/tmp",
                Stdin = -1,
                Stdout = -1,
                Stderr = -1,
            });
            ExitStatus status = machine.Run(program, [FuzzGuest.Name], []);
            return new(trace.Executed, trace.Wrong ?? Judge(machine, status) ?? (trace.SentFiles ? null : JudgeFiles(machine, status)) ?? folder.Check(machine), status);
        }
#pragma warning disable CA1031 // Whatever escapes is what the suite looks for.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return new(trace.Executed, $"an exception escaped the machine: {e}");
        }
        finally
        {
            File.Delete(program);
        }
    }

    /// <summary>A guest may end in any way; the machine must be whole.</summary>
    internal static string? Judge(Machine machine, ExitStatus status)
    {
        if (status.Reason is not (ExitReason.Exited or ExitReason.Signaled or ExitReason.InstructionLimit) && !IsOutOfMemory(machine, status))
            return string.Create(CultureInfo.InvariantCulture, $"the machine ended by {status.Reason}: {status.Message}\n{status.Report?.Failure}");
        if (machine.Violations.Count > 0)
            return machine.Violations.All[0].ToString();
        MemorySystem memory = machine.MemorySystem;
        // The end of the first process ends the machine, and cuts the others short.
        bool ended = status is { Reason: ExitReason.Exited, Code: FuzzGuest.CleanEnd };
        IReadOnlyList<string> errors = new MmChecker(memory) { TasksWereCutShort = !ended }.Check();
        if (errors.Count > 0)
            return string.Join('\n', errors.Take(5));
        if (machine.KernelMemory.Used < 0)
            return "more of the kernel's memory was given back than taken";
        if (!ended)
            return null;
        // Regions of msharefs stay, as files do, and are address spaces.
        if (memory.AddressSpaces.Count(static mm => mm.Sharing is null) is > 0 and var spaces)
            return $"{spaces} address spaces are left";
        if (memory.AnonVmas.Count != 0)
            return $"{memory.AnonVmas.Count} anon_vmas are left";
        return null;
    }

    /// <summary>With everybody gone, files are open only where regions of msharefs map them. Those that sockets send each other in a circle would be, too.</summary>
    private static string? JudgeFiles(Machine machine, ExitStatus status)
    {
        if (status is not { Reason: ExitReason.Exited, Code: FuzzGuest.CleanEnd })
            return null;
        var mapped = new HashSet<OpenFile>();
        foreach (Kernel.Memory.Mm mm in machine.MemorySystem.AddressSpaces)
        {
            for (Vma? vma = mm.Vmas.First; vma is not null; vma = mm.Vmas.Next(vma))
            {
                if (vma.File is { } file)
                    mapped.Add(file);
            }
        }
        int open = machine.KernelMemory.OpenFiles;
        return open <= mapped.Count ? null : string.Create(CultureInfo.InvariantCulture, $"{open} files are open, of which {mapped.Count} are mapped");
    }

    /// <summary>A program may lock, or put into files, all the memory of a small machine: then Linux panics, too.</summary>
    private static bool IsOutOfMemory(Machine machine, ExitStatus status) =>
        machine.Options.MemoryBytes < FuzzMachines.Ample && status.Reason == ExitReason.Stopped && status.Message?.EndsWith("System is deadlocked on memory", StringComparison.Ordinal) == true;

    /// <summary>Hears of each system call: which cases were begun, and whether the setup went well.</summary>
    private sealed unsafe class Trace(FuzzWorld world, int count) : ISyscallTracer
    {
        private const int R12 = 12;
        private const ulong SendMessage = 46, SendMessages = 307;

        public bool[] Executed { get; } = new bool[count];

        public string? Wrong { get; private set; }

        /// <summary>A message has been sent.</summary>
        public bool SentFiles { get; private set; }

        public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args)
        {
            int index = FuzzGuest.CaseOf(task.Registers->Gpr[R12], count);
            if (index >= 0)
                Executed[index] = true;
        }

        public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
        {
            SentFiles |= number is SendMessage or SendMessages && result >= 0;
            if (result < 0 && FuzzGuest.SetupOf(task.Registers->Gpr[R12]) is >= 0 and var setup && setup < world.Setup.Count)
                Wrong ??= $"setup call {setup}, {world.Setup[setup]}, answers {result}";
        }
    }
}

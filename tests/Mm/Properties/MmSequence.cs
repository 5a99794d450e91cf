using System.Buffers.Binary;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Properties;

/// <summary>
/// Runs a <see cref="Script"/> in a machine of its own beside a plain model. One task does everything; the processes are address spaces that
/// the machine's other vCPUs run, so that TLBs of several vCPUs, some of them lazy or elsewhere, hold what the task changes.
/// </summary>
internal sealed unsafe partial class MmSequence
{
    public const ulong Area = 0x4000_0000;
    private const int FilePages = 24, MaxProcesses = 4, Vcpus = 4;

    /// <summary>Of hugetlb: enough for some, so that promises are kept and broken.</summary>
    private const int PoolPages = 4;

    /// <summary>Where a page carries the number that stands for its contents.</summary>
    private static readonly int[] Marks = [0, 2048, 4088];

    private readonly Machine _machine;
    private readonly Task _task;
    private readonly List<SimulatedProcess> _processes = [];
    private readonly List<(OpenFile File, ShmemPageCache Cache, ModelObject Model)> _files = [];
    private readonly List<Taken> _taken = [];
    private readonly byte[] _buffer = new byte[4096];
    private readonly PropertyDeviceMemory _deviceMemory;
    private ulong _lastMark;

    /// <summary>A process: what the kernel has of it, what the model has, and its devices, if any.</summary>
    private sealed class SimulatedProcess(Kernel.Memory.Mm mm, AddressSpaceModel model)
    {
        public Kernel.Memory.Mm Mm => mm;

        public AddressSpaceModel Model => model;

        public Devices? Devices { get; set; }
    }

    /// <summary>A page taken by get_user_pages or pin_user_pages; coherent: what the model has at <see cref="Content"/> is in the frame.</summary>
    private readonly record struct Taken(Pfn Frame, bool Pinned, bool Writable, ModelContent? Content);

    private MmSequence(Machine machine, Task task)
    {
        (_machine, _task) = (machine, task);
        _deviceMemory = new PropertyDeviceMemory(this);
        for (int i = 0; i < 2; i++)
        {
            OpenFile file = machine.CreateMemoryFile(task, FilePages << 12);
            _files.Add((file, (ShmemPageCache)file.Mapping!, new ModelObject(FilePages)));
        }
        _processes.Add(new SimulatedProcess(Kernel.Memory.Mm.Create(machine.MemorySystem)!, new AddressSpaceModel(Step.AreaPages)));
    }

    /// <summary>Runs a script; null, or what is wrong and after which step.</summary>
    /// <param name="script">The steps.</param>
    /// <param name="brokenMirror">Mirrors do not do what they should.</param>
    /// <param name="sabotage">Done behind the kernel's back in the end, to see that it is found.</param>
    public static string? Run(Script script, bool brokenMirror = false, Action<Machine, Kernel.Memory.Mm>? sabotage = null)
    {
        // Checks go over all frames that are in use, those of the pool included.
        int poolPages = script.Steps.Any(static step => step.Op == Op.MapHuge) ? PoolPages : 0;
        using var machine = new Machine(new MachineOptions
        {
            Vcpus = Vcpus,
            MemoryBytes = (ulong)((96 << 20) + (poolPages << 21)),
            HugePages = poolPages,
            SwapBytes = 32 << 20,
            LockDep = true,
            Check = true,
            Timeout = TimeSpan.FromSeconds(60),
        });
        string? wrong = null;
        machine.Run(task =>
        {
            long frames = machine.Pages.UsedFrames, tables = machine.Pages.TableFrames;
            var sequence = new MmSequence(machine, task);
            for (int i = 0; i < script.Steps.Count && wrong is null; i++)
            {
                wrong = sequence.Do(script.Steps[i], brokenMirror) ?? sequence.Check();
                if (wrong is not null)
                    wrong = $"after step {i}, {script.Steps[i]}: {wrong}";
            }
            if (wrong is null && sabotage is not null)
            {
                sabotage(machine, sequence._processes[0].Mm);
                wrong = sequence.Check();
            }
            sequence.End();
            wrong ??= machine.Pages.UsedFrames != frames ? $"{machine.Pages.UsedFrames - frames} frames leaked" : null;
            wrong ??= machine.Pages.TableFrames != tables ? $"{machine.Pages.TableFrames - tables} tables leaked" : null;
            wrong ??= sequence._deviceMemory.Used != 0 ? $"{sequence._deviceMemory.Used} pages of the device leaked" : null;
            wrong ??= machine.MemorySystem.HugeTlb.Default is { Reserved: 0, Surplus: 0 } pool && pool.Free == poolPages ? null : "the pool of huge pages is not as it was";
            wrong ??= machine.MemorySystem.AddressSpaces.Count != 1 ? "an address space is left" : null;
            wrong ??= machine.MemorySystem.Swap.UsedSlots != 0 ? $"{machine.MemorySystem.Swap.UsedSlots} swap slots leaked" : null;
            wrong ??= machine.MemorySystem.AnonVmas.Count != 0 ? $"{machine.MemorySystem.AnonVmas.Count} anon_vmas leaked" : null;
            wrong ??= machine.MemorySystem.HugePages.Mapped != 0 ? $"{machine.MemorySystem.HugePages.Mapped} huge pages are counted as mapped" : null;
        });
        return wrong ?? (machine.Violations.Count != 0 ? machine.Violations.All[0].ToString() : null);
    }

    private void End()
    {
        foreach (Taken taken in _taken)
            GiveBack(taken);
        while (_processes.Count > 0)
            Exit(0, removeFirst: true);
        for (int i = 1; i < Vcpus; i++)
            SwitchToKernel(_machine.Platform.Vcpus[i]);
        foreach ((OpenFile file, _, _) in _files)
            file.Put();
    }

    /// <summary>The vCPU that runs a process.</summary>
    private Vcpu VcpuOf(int process) => _machine.Platform.Vcpus[1 + process % (Vcpus - 1)];

    private void SwitchToKernel(Vcpu vcpu)
    {
        vcpu.Enter();
        _machine.MemorySystem.Shootdown.SwitchToKernel(vcpu);
        vcpu.Leave();
    }

    private static ulong AddressOf(int page) => Area + ((ulong)page << 12);

    private Span<ulong> MarksOf(Pfn frame) => new(_machine.Memory.Pointer(frame), 512);

    /// <summary>The number that a frame's contents stand for; null if the frame is torn.</summary>
    private ulong? ReadMarks(Pfn frame)
    {
        Span<ulong> data = MarksOf(frame);
        ulong first = data[0];
        foreach (int mark in Marks)
        {
            if (data[mark / 8] != first)
                return null;
        }
        return first;
    }

    private void WriteMarks(Pfn frame, ulong value)
    {
        Span<ulong> data = MarksOf(frame);
        foreach (int mark in Marks)
            data[mark / 8] = value;
    }

    /// <summary>A page's worth of bytes that stands for a number.</summary>
    private Span<byte> PageOf(ulong value)
    {
        foreach (int mark in Marks)
            BinaryPrimitives.WriteUInt64LittleEndian(_buffer.AsSpan(mark), value);
        return _buffer;
    }

    /// <summary>All of a small range, and some of a large one.</summary>
    private static IEnumerable<int> Sample(int start, int pages, int offset)
    {
        int stride = Math.Max(1, pages / 8);
        for (int i = pages > 12 ? offset % stride : 0; i < pages; i += stride)
            yield return start + i;
    }

    /// <summary>One access of a program, on the vCPU that runs it and through its TLB.</summary>
    private string? Access(int process, int page, bool write)
    {
        (Kernel.Memory.Mm mm, AddressSpaceModel model) = (_processes[process].Mm, _processes[process].Model);
        Vcpu vcpu = VcpuOf(process);
        ulong address = AddressOf(page);
        FaultOutcome expected =
            model[page] is not { } mapped ? FaultOutcome.NotMapped
            : !mapped.Allows(write) ? FaultOutcome.Forbidden
            : mapped.IsBeyondEnd ? FaultOutcome.BusError
            : FaultOutcome.Done;
        for (int attempt = 0; attempt < 10; attempt++)
        {
            vcpu.Enter();
            _machine.MemorySystem.Shootdown.SwitchMm(vcpu, mm);
            bool translated = Mmu.Translate(vcpu.State, address, write ? Hardware.Memory.Access.Write : Hardware.Memory.Access.Read, user: true, out ulong physical);
            vcpu.Leave();
            if (translated)
                return expected == FaultOutcome.Done ? Use(model[page]!, address, new Pfn(physical >> Pfn.Shift), write) : $"{address:x} can be {(write ? "written" : "read")}, expected {expected}";
            FaultOutcome outcome = mm.HandleFault(_task, address, write ? FaultFlags.Write : FaultFlags.Read);
            if (outcome == FaultOutcome.BusError && model[page] is { Huge: true })
                return null;
            if (outcome != FaultOutcome.Done)
                return outcome == expected ? null : $"{(write ? "write" : "read")} of {address:x} is {outcome}, expected {expected}";
        }
        return $"{(write ? "write" : "read")} of {address:x} faults for ever";
    }

    /// <summary>Reads or writes a page of which the frame is known.</summary>
    private string? Use(ModelPage page, ulong address, Pfn frame, bool write)
    {
        if (write)
        {
            page.Write(++_lastMark);
            WriteMarks(frame, _lastMark);
            return null;
        }
        ulong? seen = ReadMarks(frame);
        return seen is { } value && page.Accepts(value) ? null : $"{address:x} holds {seen?.ToString() ?? "a torn page"}, expected {page.Read()}";
    }
}

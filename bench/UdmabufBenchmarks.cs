using BenchmarkDotNet.Attributes;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Bench;

/// <summary>
/// A hole under a buffer, its refill, and the next use by every device, for each design of /dev/udmabuf in host time: the twin of
/// guests/udmabuf/refill.c. <c>update-mapping</c> is left out: it would measure the reports of what it does to freed memory.
/// </summary>
[BenchmarkCategory("Quick")]
public class UdmabufBenchmarks : IDisposable
{
    private const int Holes = 32;

    private Machine? _machine;
    private KernelMm? _mm;
    private OpenFile _file = null!;
    private DmaBufFile _buffer = null!;
    private ImporterUse[] _devices = null!;
    private ulong _at, _size;

    [Params(16, 512)]
    public int Pages { get; set; }

    [Params(1, 8)]
    public int Devices { get; set; }

    [GlobalSetup(Target = nameof(Pinned))]
    public void SetupPinned() => Setup(UdmabufModes.Pinned);

    [GlobalSetup(Target = nameof(Hmm))]
    public void SetupHmm() => Setup(UdmabufModes.Hmm);

    [GlobalSetup(Target = nameof(FileNotifier))]
    public void SetupFileNotifier() => Setup(UdmabufModes.FileNotifier);

    [GlobalSetup(Target = nameof(AllocatorExport))]
    public void SetupAllocatorExport() => Setup(UdmabufModes.AllocatorExport);

    [Benchmark(Baseline = true, OperationsPerInvoke = Holes)]
    public void Pinned() => Refill();

    [Benchmark(OperationsPerInvoke = Holes)]
    public void Hmm() => Refill();

    [Benchmark(OperationsPerInvoke = Holes)]
    public void FileNotifier() => Refill();

    [Benchmark(OperationsPerInvoke = Holes)]
    public void AllocatorExport() => Refill();

    private void Setup(UdmabufMode mode)
    {
        _size = (ulong)Pages << Pfn.Shift;
        _machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20, Udmabuf = new UdmabufOptions(mode) });
        _mm = new KernelMm(_machine);
        _mm.Run(task =>
        {
            _file = _machine.CreateMemoryFile(task, _size);
            _at = (ulong)task.Mm.Mmap(task, 0, _size, PROT_READ | PROT_WRITE, MAP_SHARED, _file, 0);
            Udmabuf udmabuf = mode.Create(_machine, [new UdmabufItem(_file.Mapping!, 0, (ulong)Pages, 0)]);
            Require(udmabuf.Populate(task) == 0);
            Require(DmaBuf.Export(task, _machine, udmabuf, "udmabuf", _size, out DmaBuf? buffer) == 0);
            udmabuf.Buffer = buffer!;
            _buffer = DmaBufFile.Create(task, buffer!);
            _devices = new ImporterUse[Devices];
            for (int i = 0; i < Devices; i++)
            {
                Require(ImporterUse.Attach(task, _buffer, "device", dynamic: true, out ImporterUse? use) == 0);
                _devices[i] = use!;
            }
        });
    }

    private void Refill() => _mm!.Run(task =>
    {
        for (int hole = 0; hole < Holes; hole++)
        {
            Require(_file.Allocate(task, 3, 0, (long)_size) == 0);
            for (int page = 0; page < Pages; page++)
                task.TryWrite(_at + ((ulong)page << Pfn.Shift), (byte)1);
            foreach (ImporterUse device in _devices)
                Use(task, device);
        }
    });

    private void Use(Task task, ImporterUse device)
    {
        var job = new DmaJob(device, ImporterOp.Fill, 0, _size) { Value = 1 };
        Require(device.Commit(task, job) == 0);
        device.Execute(task, job);
    }

    private static void Require(bool condition)
    {
        if (!condition)
            throw new InvalidOperationException("the buffer refuses");
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _mm?.Run(task =>
        {
            foreach (ImporterUse device in _devices)
                device.Detach(task);
            _buffer.Put();
            task.Mm.Munmap(task, _at, _size);
            _file.Put();
        });
        _machine?.Dispose();
        GC.SuppressFinalize(this);
    }
}

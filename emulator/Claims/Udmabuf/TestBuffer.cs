using Emulator.Hardware.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims.Udmabuf;

/// <summary>A buffer over the first pages of a memfd, with devices attached to it, in one of the designs of /dev/udmabuf.</summary>
internal sealed class TestBuffer
{
    private readonly Stage _stage;
    private readonly DmaBufFile _file;
    private readonly List<ImporterUse> _uses = [];

    public TestBuffer(Stage stage, UdmabufMode mode, SharedFile file, int pages)
    {
        _stage = stage;
        stage.Machine.DmaBufs.DeclareLockOrder(stage.Task);
        Kernel.Mirrors.Udmabuf udmabuf = mode.Create(stage.Machine, [new UdmabufItem(file.File.Mapping!, 0, (ulong)pages, 0)]);
        Claim.Require(udmabuf.Populate(stage.Task) == 0, "a buffer cannot be made");
        Claim.Require(DmaBuf.Export(stage.Task, stage.Machine, udmabuf, "udmabuf", (ulong)pages << Pfn.Shift, out DmaBuf? buffer) == 0, "a buffer cannot be exported");
        udmabuf.Buffer = buffer!;
        _file = DmaBufFile.Create(stage.Task, buffer!);
    }

    public DmaBuf Buffer => _file.Buffer;

    public ImporterUse Attach(string device, bool dynamic)
    {
        Claim.Require(ImporterUse.Attach(_stage.Task, _file, device, dynamic, out ImporterUse? use) == 0, "a device cannot attach");
        _uses.Add(use!);
        return use!;
    }

    /// <summary>Has a device read the first byte of a page.</summary>
    public char Read(ImporterUse use, int page)
    {
        var job = new DmaJob(use, ImporterOp.Read, (ulong)page << Pfn.Shift, 1) { Data = new byte[1] };
        Do(use, job);
        return (char)job.Data[0];
    }

    /// <summary>Has a device fill pages with a byte.</summary>
    public void Fill(ImporterUse use, int page, int pages, char value) =>
        Do(use, new DmaJob(use, ImporterOp.Fill, (ulong)page << Pfn.Shift, (ulong)pages << Pfn.Shift) { Value = value });

    private void Do(ImporterUse use, DmaJob job)
    {
        Claim.Require(use.Commit(_stage.Task, job) == 0, "a job is refused");
        use.Execute(_stage.Task, job);
    }

    /// <summary>Puts what the machine noticed into the evidence.</summary>
    public void Report()
    {
        foreach (Incoherence found in _stage.Machine.DmaBufs.Incoherences)
            _stage.Evidence.Add($"{found}");
    }

    public long Count(DmaBufCounter counter) => _stage.Machine.DmaBufs[counter];

    public void Close()
    {
        foreach (ImporterUse use in _uses)
            use.Detach(_stage.Task);
        _file.Put();
    }
}

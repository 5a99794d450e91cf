using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Udmabuf;

/// <summary>A memfd that the scenario's task maps, as QEMU maps a guest's memory.</summary>
internal sealed class SharedFile
{
    private readonly Stage _stage;

    /// <param name="stage">Where.</param>
    /// <param name="pages">Of 4 KiB, or with <paramref name="huge"/> of 2 MiB.</param>
    /// <param name="untouched">A page that nobody writes to; -1: none.</param>
    /// <param name="huge">A file of hugetlbfs.</param>
    public SharedFile(Stage stage, int pages, int untouched = -1, bool huge = false)
    {
        _stage = stage;
        PageBytes = huge ? PageTables.HugeSize : Pfn.Size;
        ulong size = (ulong)pages * PageBytes;
        Machine machine = stage.Machine;
        File = huge ? machine.Vfs.CreateHugeTlbMemfd(stage.Task, "memory", machine.MemorySystem.HugeTlb.Default, Seals.None, 0x1FF) : machine.CreateMemoryFile(stage.Task, size);
        if (huge)
            File.Mapping!.Truncate(stage.Task, size);
        Address = MapAgain(stage.Task);
        for (int page = 0; page < pages; page++)
        {
            if (page != untouched)
                Write(page, 'a');
        }
    }

    public OpenFile File { get; }

    /// <summary>Where it is mapped.</summary>
    public ulong Address { get; }

    public ulong PageBytes { get; }

    private Mm Mm => _stage.Task.Mm;

    public ulong PageAt(int page) => Address + (ulong)page * PageBytes;

    /// <summary>Maps the file once more, in the caller's address space.</summary>
    public ulong MapAgain(Task task) =>
        (ulong)task.Mm.Mmap(task, 0, File.Mapping!.Size, PROT_READ | PROT_WRITE, MAP_SHARED, File, 0);

    public void Write(int page, char value) => Claim.Require(_stage.Task.TryWrite(PageAt(page), (byte)value), $"page {page} cannot be written");

    public char Read(int page) => _stage.Task.TryRead(PageAt(page), out byte value) ? (char)value : '!';

    /// <summary>fallocate(FALLOC_FL_PUNCH_HOLE).</summary>
    public void Punch(Task task, int first, int count) =>
        Claim.Require(File.Allocate(task, 3, (long)((ulong)first * PageBytes), (long)((ulong)count * PageBytes)) == 0, "a hole cannot be punched");

    /// <summary>Whether the tables map a page, and to what.</summary>
    public bool TryWalk(int page, out Pfn frame) => Mm.TryWalk(PageAt(page), write: false, out frame);

    public FrameTag Tag(int page) => Memory.Tag(_stage, Mm, PageAt(page));

    /// <summary>Unmaps and closes the file.</summary>
    public void Close()
    {
        Mm.Munmap(_stage.Task, Address, File.Mapping!.Size);
        File.Put();
    }
}

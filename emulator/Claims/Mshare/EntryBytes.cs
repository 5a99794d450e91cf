using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 32: 2,000 address spaces map one page.</summary>
internal sealed class EntryBytes : Claim
{
    private const int Processes = 2000, EntrySize = 8;

    public override string Number => "32";

    public override string Name => "entries-of-2000-processes";

    public override string Text => "when 2,000 processes map one page, their entries for it take 8K";

    public override string Source => "cover letter of mshare RFC v3";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "2,000 entries of 8 bytes are 16,000 bytes, about four times the page; 8K would be 1,024 processes";

    protected override Verdict Try(Evidence evidence)
    {
        int bytes = 0;
        evidence.Stage("2,000 address spaces", 1, stage =>
        {
            Task task = stage.Task;
            OpenFile file = stage.Machine.CreateMemoryFile(task, Pfn.Size);
            var spaces = new List<Mm>();
            Pfn frame = default;
            for (int i = 0; i < Processes; i++)
            {
                var mm = Mm.Create(stage.Machine.MemorySystem)!;
                ulong at = (ulong)mm.Mmap(task, 0, Pfn.Size, PROT_READ, MAP_SHARED, file, 0);
                Require(mm.HandleFault(task, at, FaultFlags.Read) == FaultOutcome.Done && mm.TryWalk(at, write: false, out frame), "the page cannot be mapped");
                spaces.Add(mm);
            }
            int entries = stage.Machine.Pages[frame].MapCount;
            bytes = entries * EntrySize;
            stage.Evidence.Add($"{stage.Tag(frame)} is mapped by {entries} entries: {bytes} bytes for a page of 4096");
            stage.Evidence.Count("tables.bytes", (ulong)spaces.Sum(static mm => mm.TableBytes));
            foreach (Mm mm in spaces)
                mm.Put(task);
            file.Put();
        });
        return Judge(bytes is <= 8192 and > 8192 - 512);
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 23, with the three things that come of it.</summary>
internal sealed unsafe class UnmapKeepsTheLink : AbiClaim
{
    public override string Number => "23";

    public override string Name => "unmap-keeps-the-link";

    public override string Text => "unmapping a region leaves its top-level entry in the process's page table";

    public override string Source => "patch text of mshare RFC v3";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "so access goes on without a fault, private memory mapped there is everybody's, and when the region is gone the processor walks freed tables. The corrected interface unlinks, flushes and counts links";

    protected override Verdict Try(Evidence evidence)
    {
        Require(!StillReads(evidence, MshareVariant.Corrected) && !LeaksPrivateMemory(evidence, MshareVariant.Corrected) && !WalksFreedTables(evidence, MshareVariant.Corrected),
            "the corrected interface leaves the link as well");
        return Judge(StillReads(evidence, MshareVariant.RfcV3) & LeaksPrivateMemory(evidence, MshareVariant.RfcV3) & WalksFreedTables(evidence, MshareVariant.RfcV3));
    }

    private static bool StillReads(Evidence evidence, MshareVariant variant)
    {
        bool reads = false;
        OnVariant(evidence, "A unmaps, and reads a page that it never touched", variant, (stage, a) =>
        {
            Region region = Region.Make(a, 1);
            Actor b = stage.Enter("B", 1);
            region.Attach(b);
            Require(region.CreateMapping(b, Region.Page(1), 4096) == 0 && b.Write(Region.Page(1), 42), "B cannot fill a page");
            Require(a.Syscall(SystemCall.Munmap, Region.Start, Region.Unit) == 0, "the region cannot be unmapped");
            Sighting seen = a.Read(Region.Page(1));
            stage.Evidence.Add($"{seen}");
            reads = seen is { Finding: Finding.Coherent, Value: 42 };
        });
        return reads;
    }

    private static bool LeaksPrivateMemory(Evidence evidence, MshareVariant variant)
    {
        bool leaks = false;
        OnVariant(evidence, "A unmaps, maps private memory there, and writes to it; B reads the same address", variant, (stage, a) =>
        {
            Region region = Region.Make(a, 1);
            Actor b = stage.Enter("B", 1);
            region.Attach(b);
            Require(a.Syscall(SystemCall.Munmap, Region.Start, Region.Unit) == 0, "the region cannot be unmapped");
            long at = a.Syscall(SystemCall.Mmap, Region.Page(9), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, unchecked((ulong)-1));
            Require(at == (long)Region.Page(9) && a.Write(Region.Page(9), 77), "A cannot map private memory");
            Sighting seen = b.Read(Region.Page(9));
            stage.Evidence.Add("A writes 77");
            stage.Evidence.Add($"{seen}");
            leaks = seen is { Finding: not Finding.Fault, Value: 77 };
        });
        return leaks;
    }

    /// <summary>The checker sees a walk through the freed table.</summary>
    private static bool WalksFreedTables(Evidence evidence, MshareVariant variant)
    {
        bool walks = false;
        evidence.Stage($"A unmaps, the file goes, and A reads; {(variant == MshareVariant.RfcV3 ? "RFC v3 as posted" : "corrected")}, with the checker", 3, stage =>
        {
            Actor a = stage.Enter("A", 0);
            Region region = Region.Make(a, 2);
            FrameTag table = stage.Tag(PageTables.FrameOf(*((ulong*)stage.Machine.Memory.Pointer(a.Mm.Root) + PageTable.Index(Region.Start, PageTable.RootLevel))));
            FrameTag page = Memory.Tag(stage, a.Mm, Region.Page(1));
            Require(a.Syscall(SystemCall.Munmap, Region.Start, Region.Unit) == 0, "the region cannot be unmapped");
            region.Close(a);
            Require(a.Syscall(SystemCall.Unlink, a.Pass("/sys/fs/mshare/region\0"u8.ToArray())) == 0, "the file cannot be removed");
            stage.Evidence.Add($"the table of the region, {table}, is {(stage.IsFreed(table) ? "freed" : "still there")}");
            Require(stage.IsFreed(table), "the region does not go with its last user");
            Sighting seen = a.Read(Region.Page(1), page);
            stage.Evidence.Add($"{seen}");
            foreach (Violation violation in stage.Violations.Take())
            {
                stage.Evidence.Add($"checker: {violation.Rule}: {violation.Text.Split('\n')[0]}");
                walks |= violation.Rule.Contains("freed page table", StringComparison.Ordinal);
            }
            walks |= seen.Finding == Finding.Corrupt;
        }, options => options with { MshareVariant = variant, LockDep = variant == MshareVariant.Corrected, Check = true });
        return walks;
    }
}

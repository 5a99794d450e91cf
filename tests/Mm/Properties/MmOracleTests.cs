using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;

namespace Emulator.Tests.Mm.Properties;

/// <summary>The checks of <see cref="MmSequence"/> are not blind: what is broken on purpose is found.</summary>
public sealed unsafe class MmOracleTests
{
    /// <summary>Process 0: pages 0 to 3 are anonymous, written, seen by a vCPU and both devices; pages 8 to 11 are shared memory.</summary>
    private const string Warm = "MapAnon 0 0 4 2 0; Attach 0 0 1 0 0; Write 0 0 4 0 0; MapShared 0 8 4 2 0; Write 0 8 4 0 0; Mirror 0 0 4 2 0; Device 0 0 4 0 0; Read 0 0 4 0 0";

    private static ulong* Entry(Kernel.Memory.Mm mm, int page) => mm.Tables.Find(MmSequence.Area + ((ulong)page << 12));

    private static Pfn FrameOf(Kernel.Memory.Mm mm, int page) => PageTables.FrameOf(*Entry(mm, page));

    public static TestCaseData[] Sabotages() =>
    [
        Case("an entry cleared without a flush", "vCPU 1 has", (machine, mm) => Interlocked.Exchange(ref *Entry(mm, 0), 0), withDevices: false),
        Case("an entry made read-only without a flush", "vCPU 1 has", (machine, mm) => Interlocked.And(ref *Entry(mm, 0), ~(ulong)Pte.Writable), withDevices: false),
        Case("the same, seen by a device", "the mirror has", (machine, mm) => Interlocked.And(ref *Entry(mm, 0), ~(ulong)Pte.Writable)),
        Case("contents changed", "the frame of", (machine, mm) => *machine.Memory.Pointer(FrameOf(mm, 1)) ^= 1),
        Case("two entries exchanged", "the frame of", (machine, mm) => (*Entry(mm, 1), *Entry(mm, 2)) = (*Entry(mm, 2), *Entry(mm, 1))),
        Case("a reference too many", "references of", (machine, mm) => machine.Pages[FrameOf(mm, 0)].RefCount++),
        Case("a map count too low", "map count of", (machine, mm) => machine.Pages[FrameOf(mm, 8)].MapCount--),
        Case("an index that is not the page's", "the reverse map of", (machine, mm) => machine.Pages[FrameOf(mm, 0)].Index++),
        Case("another owner", "belongs", (machine, mm) => machine.Pages[FrameOf(mm, 8)].Owner++),
        Case("a page left locked", "is locked", (machine, mm) => machine.Pages[FrameOf(mm, 0)].Flags |= PageFlags.Locked),
        Case("a mapping that has lost a right", "has not what page", (machine, mm) => mm.Vmas.First!.Flags &= ~VmFlags.Write),
    ];

    private static TestCaseData Case(string name, string finding, Action<Machine, Kernel.Memory.Mm> sabotage, bool withDevices = true) =>
        new TestCaseData(finding, sabotage, withDevices).SetArgDisplayNames(name);

    [TestCaseSource(nameof(Sabotages))]
    public void What_is_broken_on_purpose_is_found(string finding, Action<Machine, Kernel.Memory.Mm> sabotage, bool withDevices)
    {
        string script = withDevices ? Warm : Warm + "; Attach 0 0 1 0 0";
        Assert.That(MmSequence.Run(Script.Parse(script)), Is.Null, "without sabotage");
        Assert.That(MmSequence.Run(Script.Parse(script), sabotage: sabotage), Does.Contain(finding));
    }

    [Test]
    public void A_frame_that_nobody_gives_back_is_found() =>
        Assert.That(
            MmSequence.Run(Script.Parse(Warm), sabotage: static (machine, _) => machine.Pages.TryAllocate(PageFlags.None, zero: false, out Pfn _)),
            Does.Contain("1 frames leaked"));

    [Test]
    public void A_mirror_that_forgets_to_forget_one_page_is_found()
    {
        const string script = Warm + "; Unmap 0 0 4 0 0";
        Assert.That(MmSequence.Run(Script.Parse(script)), Is.Null);
        Assert.That(MmSequence.Run(Script.Parse(script), brokenMirror: true), Does.Contain("the mirror has"));
    }

    [Test]
    public void A_page_that_changes_in_the_device_is_found()
    {
        const string script = "MapAnon 0 0 4 2 0; Write 0 0 4 0 0; ToDevice 0 0 4 0 0";
        Assert.That(MmSequence.Run(Script.Parse(script)), Is.Null);
        // The last two pages are in each other's place.
        Assert.That(MmSequence.Run(Script.Parse(script), sabotage: static (_, mm) => (*Entry(mm, 2), *Entry(mm, 3)) = (*Entry(mm, 3), *Entry(mm, 2))), Does.Contain("the device holds"));
    }

    [Test]
    public void A_script_reads_what_it_prints()
    {
        Script script = Script.Parse(Warm);
        Assert.That(script.Steps, Has.Count.EqualTo(8));
        Assert.That(Script.Parse(script.ToString()).Steps, Is.EqualTo(script.Steps));
    }
}

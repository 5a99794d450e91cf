using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Tests.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm;

/// <summary>Soft-dirty bits: which pages were written since /proc/PID/clear_refs was told 4.</summary>
public sealed class ClearRefsTests
{
    private static void Run(Action<Task> body)
    {
        using var machine = new Machine(new MachineOptions { LockDep = true, Vcpus = 2, MemoryBytes = 256 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(body);
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static string Written(Task task, ulong at, int pages)
    {
        Span<PagemapEntry> entries = stackalloc PagemapEntry[pages];
        task.Mm.DescribePages(task, at, entries);
        return string.Concat(entries.ToArray().Select(entry => (entry & PagemapEntry.SoftDirty) != 0 ? 'w' : '-'));
    }

    [TestCase(MAP_PRIVATE | MAP_ANONYMOUS)]
    [TestCase(MAP_SHARED | MAP_ANONYMOUS)]
    public void What_is_written_after_a_clear_is_soft_dirty_and_nothing_else(int flags) => Run(task =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 8 << 12, PROT_READ | PROT_WRITE, flags, null, 0);
        for (ulong page = 0; page < 4; page++)
            Assert.That(task.TryWrite(at + (page << 12), (byte)1), Is.True);
        Assert.That(Written(task, at, 8), Is.EqualTo("wwwwwwww"), "a new mapping counts as written");

        task.Mm.ClearReferences(task, ClearRefs.SoftDirty);
        Assert.That(Written(task, at, 8), Is.EqualTo("--------"));
        for (ulong page = 0; page < 8; page++)
            Assert.That(task.TryRead(at + (page << 12), out byte _), Is.True);
        Assert.That(Written(task, at, 8), Is.EqualTo("--------"), "reading is not writing");
        Assert.That(task.TryWrite(at + 0x1000, (byte)2) && task.TryWrite(at + 0x6000, (byte)2), Is.True);
        Assert.That(Written(task, at, 8), Is.EqualTo("-w----w-"));

        Assert.That(task.Mm.Mprotect(task, at, 8 << 12, PROT_READ), Is.Zero);
        Assert.That(task.Mm.Mprotect(task, at, 8 << 12, PROT_READ | PROT_WRITE), Is.Zero);
        Assert.That(task.TryWrite(at + 0x2000, (byte)2), Is.True);
        Assert.That(Written(task, at, 8), Is.EqualTo("-ww---w-"), "permission that comes back does not hide a write");
    });

    [Test]
    public void Clearing_soft_dirty_bits_announces_the_whole_address_space_and_flushes_before_the_end() => Run(task =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 1 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
        Assert.That(task.TryWrite(at, (byte)1), Is.True);
        var recorder = new Recorder(task, task.Mm);
        task.Mm.ClearReferences(task, ClearRefs.SoftDirty);
        string[] events = recorder.Take();
        recorder.Stop(task);
        Assert.That(events.Select(e => string.Join(' ', e.Split(' ', ':').Take(e.StartsWith("flush", StringComparison.Ordinal) ? 1 : 2))),
            Is.EqualTo((string[])["start SoftDirty", "flush", "end SoftDirty"]));
    });

    [Test]
    public void Clearing_accessed_bits_makes_pages_unreferenced_until_they_are_used() => Run(task =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 1 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
        Assert.That(task.TryWrite(at, (byte)1), Is.True);
        Vma vma = task.Mm.Vmas.Find(at)!;
        Assert.That(task.Mm.UsageOf(task, vma).Referenced, Is.EqualTo(4096));
        task.Mm.ClearReferences(task, ClearRefs.Anonymous);
        Assert.That(task.Mm.UsageOf(task, vma).Referenced, Is.Zero);
    });
}

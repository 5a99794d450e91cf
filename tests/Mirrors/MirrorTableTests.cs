using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;

namespace Emulator.Tests.Mirrors;

public sealed class MirrorTableTests
{
    private const ulong Page = 0x12345_6FF, Everything = ulong.MaxValue >> 12;

    [Test]
    public void A_tag_is_found_within_its_range_only_however_long_that_is()
    {
        MirrorTable table = new(new KernelMemory(1 << 20));
        Assert.That(table.HasAny(0, Everything, MirrorTag.Atomic), Is.False);
        table.Store(Page, new Pfn(5), MirrorTag.Atomic);
        table.Store(Page + 1, new Pfn(6), MirrorTag.Write);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(table.HasAny(0, Everything, MirrorTag.Atomic), Is.True);
            Assert.That(table.HasAny(Page, Page, MirrorTag.Atomic), Is.True);
            Assert.That(table.HasAny(0, Page - 1, MirrorTag.Atomic), Is.False);
            Assert.That(table.HasAny(Page + 1, Everything, MirrorTag.Atomic), Is.False);
            Assert.That(table.HasAny(0, Everything, MirrorTag.Read), Is.False, "where nothing is there is no tag either");
        }
        table.Erase(Page, Page);
        Assert.That(table.HasAny(0, Everything, MirrorTag.Atomic), Is.False);
    }
}

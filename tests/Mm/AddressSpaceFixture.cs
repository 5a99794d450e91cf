using Emulator.Kernel.Checker;

namespace Emulator.Tests.Mm;

/// <summary>Tests in an address space of their own, whose counts and reverse maps must be right when each has ended.</summary>
public abstract class AddressSpaceFixture
{
    private protected MemoryStand Stand { get; private set; } = null!;

    private protected Kernel.Memory.Mm Mm { get; private set; } = null!;

    [SetUp]
    public void Make_an_address_space()
    {
        Stand = new MemoryStand();
        Mm = Stand.Create();
    }

    [TearDown]
    public void Check_and_free_it()
    {
        IReadOnlyList<string> errors = new MmChecker(Stand.System).Check();
        Mm.Put(null);
        Stand.Dispose();
        Assert.That(errors, Is.Empty);
    }
}

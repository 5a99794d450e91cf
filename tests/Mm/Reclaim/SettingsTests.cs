using Emulator.Kernel.Memory;

namespace Emulator.Tests.Mm.Reclaim;

public sealed class SettingsTests
{
    [Test]
    public void Rates_are_read_by_name()
    {
        Assert.That(DisturbanceRates.TryParse("fill=4,migrate=1", out DisturbanceRates rates, out _));
        Assert.That(rates, Is.EqualTo(new DisturbanceRates(1, 0, 0, 4)));
    }

    [TestCase("migrate")]
    [TestCase("migrate=")]
    [TestCase("migrate=-1")]
    [TestCase("migrate=100001")]
    [TestCase("migrate=1,migrate=2")]
    [TestCase("shake=1")]
    [TestCase("")]
    public void Wrong_rates_are_refused_in_one_line(string text)
    {
        Assert.That(DisturbanceRates.TryParse(text, out _, out string error), Is.False);
        Assert.That(error, Is.Not.Empty.And.Not.Contains("\n"));
    }

    [TestCase("vm.overcommit_memory=2", true)]
    [TestCase("vm.overcommit_memory=3", false)]
    [TestCase("vm.overcommit_memory", false)]
    [TestCase("vm.swappiness=200", true)]
    [TestCase("kernel.pid_max=2", false)]
    public void Settings_are_checked(string assignment, bool good)
    {
        Assert.That(new VmSysctls().TrySet(assignment), good ? Is.Null : Is.Not.Null);
    }

    [Test]
    public void Watermarks_are_in_order()
    {
        using var stand = new MemoryStand();
        Watermarks marks = Watermarks.For(stand.Pages, new VmSysctls());
        Assert.That(marks.Min, Is.LessThan(marks.Low));
        Assert.That(marks.Low, Is.LessThan(marks.High));
    }

    [Test]
    public void Counters_are_declared_in_order_and_once()
    {
        Assert.That(VmEvents.All.Select(static info => info.Event), Is.EqualTo(Enum.GetValues<VmEvent>()));
        Assert.That(VmEvents.All.Select(static info => info.Name), Is.Unique);
    }
}

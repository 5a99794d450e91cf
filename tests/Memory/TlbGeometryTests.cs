using Emulator.Hardware.Memory;

namespace Emulator.Tests.Memory;

internal sealed class TlbGeometryTests
{
    [TestCase("64x4,1536x12")]
    [TestCase("16x16")]
    [TestCase("1x1,8x1")]
    public void A_geometry_reads_back_as_it_was_written(string text)
    {
        Assert.That(TlbGeometry.TryParse(text, out var geometry, out string error), Is.True, error);
        Assert.That(geometry.ToString(), Is.EqualTo(text));
    }

    [TestCase("")]
    [TestCase("64")]
    [TestCase("64x0")]
    [TestCase("0x4")]
    [TestCase("-64x4")]
    [TestCase("48x4")]
    [TestCase("64x5")]
    [TestCase("64x4,")]
    [TestCase("64x4,64x4,64x4")]
    [TestCase("99999999999x4")]
    public void A_wrong_geometry_is_refused_with_a_reason(string text)
    {
        Assert.That(TlbGeometry.TryParse(text, out _, out string error), Is.False);
        Assert.That(error, Is.Not.Empty);
    }

    [Test]
    public void Every_counter_is_declared_in_order_and_once()
    {
        Assert.That(CounterList.All.Select(c => (int)c.Counter), Is.EqualTo(Enumerable.Range(0, (int)Counter.Count)));
        Assert.That(CounterList.All.Select(c => c.Name), Is.Unique);
        Assert.That(CounterList.All.Select(c => c.Help), Has.None.Empty);
    }
}

using System.Text.Json;
using Emulator.Hardware.Smp;

namespace Emulator.Tests.Smp;

/// <summary>The file of simulated costs: complete, sourced, replaceable, and refused with the key that is wrong.</summary>
public sealed class CostModelTests
{
    private static JsonElement Costs()
    {
        using Stream stream = typeof(CostModel).Assembly.GetManifestResourceStream("costs.json")!;
        using JsonDocument document = JsonDocument.Parse(stream);
        return document.RootElement.GetProperty("costs").Clone();
    }

    [Test]
    public void Every_cost_has_a_number_a_grade_and_a_source()
    {
        JsonProperty[] costs = [.. Costs().EnumerateObject()];
        Assert.That(costs, Has.Length.EqualTo((int)Cost.Count));
        foreach (JsonProperty cost in costs)
        {
            Assert.That(cost.Value.GetProperty("cycles").GetInt64(), Is.GreaterThanOrEqualTo(0), cost.Name);
            Assert.That(cost.Value.GetProperty("grade").GetString(), Is.AnyOf("measured", "documented", "derived", "assumed"), cost.Name);
            Assert.That(cost.Value.GetProperty("source").GetString(), Is.Not.Empty, cost.Name);
        }
    }

    [Test]
    public void Keys_stand_for_the_events_they_are_named_after()
    {
        foreach (JsonProperty cost in Costs().EnumerateObject())
        {
            Cost which = Enum.Parse<Cost>(cost.Name.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);
            Assert.That(CostModel.Default[which], Is.EqualTo((ulong)cost.Value.GetProperty("cycles").GetInt64()), cost.Name);
        }
    }

    [TestCase(1, 692)]
    [TestCase(33, 7069)]
    [TestCase(129, 25663)]
    public void The_cost_of_a_page_flush_fits_the_measurement_it_is_from(int pages, int measured)
    {
        const double fixedPart = 490;
        Assert.That(fixedPart + pages * (double)CostModel.Default[Cost.Invlpg], Is.EqualTo(measured).Within(3).Percent);
    }

    [Test]
    public void A_text_replaces_the_numbers_it_has()
    {
        Assert.That(CostModel.Default.TryOverride("""{ "comment": "mine", "costs": { "invlpg": { "cycles": 7 }, } } // all""", out CostModel model, out _));
        Assert.That(model[Cost.Invlpg], Is.EqualTo(7));
        Assert.That(model[Cost.LoadCr3], Is.EqualTo(CostModel.Default[Cost.LoadCr3]));
        Assert.That(CostModel.Default[Cost.Invlpg], Is.EqualTo(200), "the default is as it was");
    }

    [TestCase("{", "line 1")]
    [TestCase("[]", "'costs'")]
    [TestCase("""{"costs":3}""", "'costs'")]
    [TestCase("""{"costs":{"invplg":{"cycles":1}}}""", "'invplg' is unknown")]
    [TestCase("""{"costs":{"invlpg":1}}""", "'invlpg'")]
    [TestCase("""{"costs":{"invlpg":{}}}""", "'invlpg'")]
    [TestCase("""{"costs":{"invlpg":{"cycles":-1}}}""", "'invlpg'")]
    [TestCase("""{"costs":{"invlpg":{"cycles":1.5}}}""", "'invlpg'")]
    [TestCase("""{"costs":{"invlpg":{"cycles":99999999999}}}""", "'invlpg'")]
    [TestCase("""{"costs":{"invlpg":{"cycles":"1"}}}""", "'invlpg'")]
    public void What_is_wrong_is_named(string text, string part)
    {
        Assert.That(CostModel.Default.TryOverride(text, out CostModel model, out string error), Is.False);
        Assert.That(error, Does.Contain(part).And.Not.Contain("\n"));
        Assert.That(model, Is.SameAs(CostModel.Default));
    }
}

using Emulator.Cli.Commands;

namespace Emulator.Tests.Cli;

internal sealed class ArgumentSplitterTests
{
    private static readonly RunCommand Run = new();

    [TestCase("guest", ExpectedResult = 0)]
    [TestCase("guest --strace -v", ExpectedResult = 0)]
    [TestCase("-v guest --help", ExpectedResult = 1)]
    [TestCase("--vcpus 4 guest -g", ExpectedResult = 2)]
    [TestCase("--vcpus=4 guest", ExpectedResult = 1)]
    [TestCase("--stats guest", ExpectedResult = 1, Description = "its value is optional and only attached")]
    [TestCase("--stats=json -o out guest", ExpectedResult = 3)]
    [TestCase("-E A=1 -U B -0 name -C /tmp guest a", ExpectedResult = 8)]
    [TestCase("-C/tmp guest", ExpectedResult = 1)]
    [TestCase("-- --guest", ExpectedResult = 1)]
    [TestCase("-v -- guest -- x", ExpectedResult = 2)]
    [TestCase("- guest", ExpectedResult = 0, Description = "a lone dash is an operand")]
    [TestCase("--vcpus", ExpectedResult = 1)]
    public int Options_end_at_the_first_operand(string line) => ArgumentSplitter.CountOwn(line.Split(' '), 0, Run.TakesValue);

    [Test]
    public void An_empty_argument_is_an_operand() => Assert.That(ArgumentSplitter.CountOwn(["-v", "", "x"], 0, Run.TakesValue), Is.EqualTo(1));

    [TestCase("4096", ExpectedResult = 4096UL)]
    [TestCase("1K", ExpectedResult = 1024UL)]
    [TestCase("512m", ExpectedResult = 512UL << 20)]
    [TestCase("4GiB", ExpectedResult = 4UL << 30)]
    [TestCase("1T", ExpectedResult = 1UL << 40)]
    [TestCase("2MB", ExpectedResult = 2UL << 20)]
    [TestCase("", ExpectedResult = null)]
    [TestCase("G", ExpectedResult = null)]
    [TestCase("-1", ExpectedResult = null)]
    [TestCase("1.5G", ExpectedResult = null)]
    [TestCase("99999999999999T", ExpectedResult = null)]
    public ulong? Sizes_take_binary_suffixes(string text) => Size.TryParse(text, out ulong bytes) ? bytes : null;
}

using Emulator.Tests.Guests;

namespace Emulator.Tests.Notifiers;

public sealed class ReadmeTests
{
    [Test]
    public void The_README_shows_the_example_as_it_is()
    {
        string root = GuestPrograms.Root;
        string[] readme = File.ReadAllLines(Path.Combine(root, "README.md"));
        int first = Array.IndexOf(readme, "```csharp") + 1;
        string[] shown = readme[first..Array.IndexOf(readme, "```", first)];
        Assert.That(shown, Is.EqualTo(File.ReadAllLines(Path.Combine(root, "tests", "Notifiers", "WalkerExample.cs"))));
    }
}

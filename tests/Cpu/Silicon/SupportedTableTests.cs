using System.Runtime.CompilerServices;

namespace Emulator.Tests.Cpu.Silicon;

internal sealed class SupportedTableTests
{
    [Test]
    public void The_table_of_supported_forms_is_current()
    {
        var path = Path.Combine(Repository(), "emulator", "Hardware", "Cpu", "SUPPORTED.md");
        var table = SupportedTable.Write();
        if (Environment.GetEnvironmentVariable("EMULATOR_WRITE_SUPPORTED") == "1")
            File.WriteAllText(path, table);
        Assert.That(File.ReadAllText(path).ReplaceLineEndings("\n"), Is.EqualTo(table), "write it again with EMULATOR_WRITE_SUPPORTED=1");
    }

    private static string Repository([CallerFilePath] string source = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(source)!, "..", "..", ".."));
}

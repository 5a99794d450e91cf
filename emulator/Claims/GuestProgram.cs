using System.Text;
using Emulator.Kernel;

namespace Emulator.Claims;

/// <summary>Guest programs that are part of this assembly.</summary>
internal static class GuestProgram
{
    /// <summary>Runs a program to its end on a deterministic machine of its own, and puts what it printed into the evidence.</summary>
    /// <param name="evidence">Where it goes.</param>
    /// <param name="title">Of the case.</param>
    /// <param name="name">The program's file name.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="change">What the machine has that others do not.</param>
    /// <returns>What it printed.</returns>
    public static string Run(Evidence evidence, string title, string name, string[] arguments, Func<MachineOptions, MachineOptions> change)
    {
        EvidenceCase here = evidence.Case(title);
        string folder = Directory.CreateTempSubdirectory("emulator-claim-").FullName;
        try
        {
            string program = Path.Combine(folder, name), output = Path.Combine(folder, "output");
            using (Stream resource = typeof(GuestProgram).Assembly.GetManifestResourceStream(name)!)
            using (FileStream file = File.Create(program))
                resource.CopyTo(file);
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            ExitStatus status;
            using (Microsoft.Win32.SafeHandles.SafeFileHandle printed = File.OpenHandle(output, FileMode.Create, FileAccess.Write))
            {
                int descriptor = (int)printed.DangerousGetHandle();
                var options = new MachineOptions { Vcpus = 2, Deterministic = true, Seed = evidence.Seed, Stdout = descriptor, Stderr = descriptor, Timeout = TimeSpan.FromSeconds(60) };
                using var machine = new Machine(change(options));
                status = machine.Run(program, [.. arguments.Prepend(name).Select(Encoding.UTF8.GetBytes)], []);
            }
            Claim.Require(status.Reason == ExitReason.Exited, $"{title}: the program ended by {status.Reason}: {status.Message}");
            string text = File.ReadAllText(output);
            foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                here.Add(line);
            return text;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}

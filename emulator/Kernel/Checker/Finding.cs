using System.Globalization;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>One thing found, complete but for the name of the place in the program.</summary>
/// <param name="Task">Whose access it was.</param>
/// <param name="Rule">The rule broken.</param>
/// <param name="What">vCPU, verb and address.</param>
/// <param name="Rip">Where in the program, to the block of instructions.</param>
/// <param name="Evidence">The lines that follow.</param>
internal sealed record Finding(Task? Task, string Rule, string What, ulong Rip, string Evidence)
{
    /// <param name="place">Symbol and file of <see cref="Rip"/>, or null: it is not known, or it was the kernel that accessed.</param>
    public string Describe(string? place) => string.Create(CultureInfo.InvariantCulture, $"{What}; rip 0x{Rip:x}{(place is null ? "" : $" {place}")}\n{Evidence}");
}

using Emulator.Hardware.Cpu;
using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Which of Iced's codes the interpreter implements, found by asking its binder.</summary>
internal static class SupportedForms
{
    /// <summary>Every code that can be encoded in 64-bit mode and is what a decoder finds in the bytes: aliases of assemblers are not.</summary>
    public static IReadOnlyList<Code> Encodable { get; } = [.. Enum.GetValues<Code>().Where(code => code.ToOpCode() is { IsInstruction: true, Mode64: true } && Make(code).Count != 0)];

    public static IReadOnlyList<Code> All { get; } = [.. Encodable.Where(IsImplemented)];

    private static List<InstructionForm> Make(Code code) => new InstructionFormGenerator(new SeededRandom((ulong)code)).Generate(code, 4);

    private static bool IsImplemented(Code code)
    {
        foreach (var form in Make(code))
        {
            if (SupportedInstructions.IsImplemented(form.Instruction))
                return true;
        }
        return false;
    }
}

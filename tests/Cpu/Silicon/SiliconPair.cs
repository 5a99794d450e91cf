using Emulator.Hardware.Cpu;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>The processor and the interpreter side by side.</summary>
internal sealed class SiliconPair : IDisposable
{
    private readonly SiliconHost host = new();
    private readonly TestMachine machine;
    private readonly CpuCase[] cases = new CpuCase[MaxCases];
    private readonly byte[] pristine = new byte[DataPages * PageSize];
    private readonly byte[] halts = new byte[32];

    /// <summary>Stack that a chain of nothing but HLT uses.</summary>
    private readonly nint haltDepth;

    /// <inheritdoc cref="TestMachine(CpuFeatures, bool)"/>
    public SiliconPair(bool watched = false)
    {
        machine = new TestMachine(watched: watched);
        Array.Fill(halts, Hlt);
        var state = new CpuImage { Rip = CodeBase, Mxcsr = 0x1F80 };
        machine.Run(in state, out _);
        haltDepth = machine.StackDepth;
    }

    /// <summary>Runs the form from <paramref name="count"/> states; returns how many differ, and describes at most <paramref name="limit"/> of them.</summary>
    public int Compare(InstructionForm form, int count, SeededRandom random, int limit, List<string> described)
    {
        var generator = new StateGenerator(random);
        generator.FillMemory(form, pristine);
        pristine.CopyTo(host.Pristine);
        for (var i = 0; i < count; i++)
        {
            var attempts = 0;
            do
                generator.Fill(form, ref cases[i]);
            while ((UndefinedResults.IsResult(form.Instruction, in cases[i].State) || Selectors.NeverEnd(form.Instruction, in cases[i].State, pristine)) && ++attempts < 100);
            // An immediate may make it undefined in every state.
            if (attempts == 100)
                return 0;
        }
        try
        {
            host.Run(cases.AsSpan(0, count));
        }
        catch (InvalidOperationException e)
        {
            ref var reached = ref cases[Math.Clamp(host.Reached, 0, count - 1)].State;
            throw new InvalidOperationException($"{e.Message}: {form} from {Comparison.Describe(ref reached)}{Comparison.DescribeOperand(ref reached, form.Instruction, pristine)}", e);
        }

        var code = cases[0].CodeBytes;
        var failed = 0;
        machine.PlaceCode(form.Address, code);
        for (var i = 0; i < count; i++)
        {
            pristine.CopyTo(machine.Data);
            var ended = machine.Run(in cases[i].State, out var actual);
            // The processor goes on in 32-bit code.
            if (machine.Unsupported == Unsupported.CompatibilityMode)
                continue;
            // The processor finds the agent's memory there.
            if (actual.Vector == Vector.PageFault && actual.FaultAddress - Control < SharedBytes)
                continue;
            host.Read(i, out var expected);
            var undefined = expected.State.Rip == LandingAddress(form, code.Length) ? form.UndefinedAtEnd : form.UndefinedBefore;
            var differences = Comparison.Differences(form.Instruction, in cases[i].State, ref expected, ref actual, undefined);
            Comparison.MemoryDifferences(host.Memory(i), machine.Data, differences);
            // Both ended at the HLT behind the instruction: the chain was one handler longer, its stack must not be.
            if (ended && actual.Vector == Vector.GeneralProtection && actual.State.Rip == LandingAddress(form, code.Length) && machine.StackDepth != haltDepth)
                differences.Add($"the handler made no tail call: it left {machine.StackDepth - haltDepth} bytes on the stack");
            if (!ended)
                differences.Insert(0, "the interpreter did not stop at an exception");
            if (differences.Count == 0)
                continue;
            if (failed++ < limit)
                described.Add($"  {form}\n    from {Comparison.Describe(ref cases[i].State)}{Comparison.DescribeVectors(ref cases[i].State, form.Instruction)}{Comparison.DescribeOperand(ref cases[i].State, form.Instruction, pristine)}\n    {string.Join("\n    ", differences)}");
        }
        machine.PlaceCode(form.Address, halts.AsSpan(0, code.Length));
        return failed;
    }

    private static ulong LandingAddress(InstructionForm form, int length) => form.Address + (ulong)length;

    /// <summary>Lets another thread have the pair, which calls <see cref="Unpark"/> before anything else.</summary>
    public void Park() => machine.Park();

    public void Unpark() => machine.Unpark();

    public void Dispose()
    {
        host.Dispose();
        machine.Dispose();
    }
}

using System.ComponentModel;
using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>A running <see cref="SiliconAgent"/> and the memory shared with it.</summary>
internal sealed unsafe class SiliconHost : IDisposable
{
    // sigcontext's general registers (arch/x86/include/uapi/asm/sigcontext.h) by hardware number.
    private static ReadOnlySpan<int> ContextIndex => [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];
    private const int ContextRip = 16, ContextRflags = 17, ContextSelectors = 18, ContextError = 19, ContextVector = 20, ContextCr2 = 22;
    private static readonly TimeSpan BatchLimit = TimeSpan.FromSeconds(10);

    private readonly MemoryMappedFile file;
    private readonly MemoryMappedViewAccessor view;
    private readonly byte* shared;
    private readonly Process agent;
    private readonly byte[] one = new byte[1];

    /// <summary>Why this host cannot run cases natively, or null when it can.</summary>
    public static string? Unsupported
        => !OperatingSystem.IsLinux() ? "the native side needs Linux"
        : RuntimeInformation.OSArchitecture != Architecture.X64 ? "the native side needs an x86-64 processor"
        : null;

    public SiliconHost()
    {
        var directory = Directory.CreateTempSubdirectory("silicon-");
        try
        {
            var program = Path.Combine(directory.FullName, "agent");
            File.WriteAllBytes(program, SiliconAgent.BuildElf());
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            var path = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : directory.FullName, directory.Name + ".cases");
            try
            {
                file = MemoryMappedFile.CreateFromFile(path, FileMode.Create, null, SharedBytes);
                view = file.CreateViewAccessor();
                view.SafeMemoryMappedViewHandle.AcquirePointer(ref shared);
                agent = Start(program, path);
                Await();
            }
            finally
            {
                File.Delete(path);
            }
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>The seven data pages as every case of the next batch finds them.</summary>
    public Span<byte> Pristine => new(shared + PristineOffset, DataPages * PageSize);

    /// <summary>Runs at most <see cref="MaxCases"/> cases; the outcomes stay until the next call.</summary>
    /// <exception cref="InvalidOperationException">The agent died or hangs.</exception>
    public void Run(ReadOnlySpan<CpuCase> cases)
    {
        if (cases.Length > MaxCases)
            throw new ArgumentException("too many cases for one batch", nameof(cases));
        for (var i = 0; i < cases.Length; i++)
            WriteInput(InputsOffset + (i << InputShift), in cases[i]);
        *(ulong*)(shared + CountOffset) = (ulong)cases.Length;
        one[0] = 1;
        agent.StandardInput.BaseStream.Write(one);
        agent.StandardInput.BaseStream.Flush();
        Await();
    }

    /// <summary>The case of the last batch that the agent had reached.</summary>
    public int Reached => (int)*(ulong*)(shared + IndexOffset);

    public void Read(int index, out CpuOutcome outcome)
    {
        var result = shared + ResultsOffset + (index << ResultShift);
        var context = (ulong*)result;
        outcome = default;
        for (var i = 0; i < 16; i++)
            outcome.State.Gpr[i] = context[ContextIndex[i]];
        outcome.State.Rip = context[ContextRip];
        outcome.State.Rflags = context[ContextRflags];
        outcome.State.FsBase = *(ulong*)(result + ResultFsBase);
        outcome.State.GsBase = *(ulong*)(result + ResultGsBase);
        var selectors = (ushort*)(result + ResultSelectors);
        (outcome.State.Selectors[0], outcome.State.Selectors[3]) = (selectors[0], selectors[1]);
        (outcome.State.Selectors[4], outcome.State.Selectors[5]) = (selectors[2], selectors[3]);
        (outcome.State.Selectors[1], outcome.State.Selectors[2]) = ((ushort)context[ContextSelectors], (ushort)(context[ContextSelectors] >> 48));
        new ReadOnlySpan<byte>(result + ResultFx, CpuImage.FxBytes).CopyTo(outcome.State.FxArea);
        outcome.Vector = (int)context[ContextVector];
        outcome.ErrorCode = context[ContextError];
        outcome.FaultAddress = context[ContextCr2];
    }

    /// <summary>The writable pages as the case left them.</summary>
    public ReadOnlySpan<byte> Memory(int index) => new(shared + ResultsOffset + (index << ResultShift) + ResultData, ResultDataBytes);

    private void WriteInput(int offset, in CpuCase item)
    {
        var input = shared + offset;
        NativeMemory.Clear(input, 1 << InputShift);
        var context = input + FrameContext;
        // The alternate stack is restored from the frame as well (kernel/signal.c:restore_altstack).
        *(ulong*)(context + ContextAltStack) = AlternateStack;
        *(ulong*)(context + ContextAltStack + 16) = AlternateStackBytes;
        var registers = (ulong*)(context + ContextRegisters);
        for (var i = 0; i < 16; i++)
            registers[ContextIndex[i]] = item.State.Gpr[i];
        registers[ContextRip] = item.State.Rip;
        registers[ContextRflags] = item.State.Rflags;
        registers[ContextSelectors] = 0x002B_0000_0000_0033;
        registers[FloatingPointer / 8] = Control + (ulong)(offset + InputFx);
        fixed (byte* fx = item.State.Fx)
            Buffer.MemoryCopy(fx, input + InputFx, CpuImage.FxBytes, CpuImage.FxBytes);
        // No XSAVE magic in the software-reserved bytes: the kernel restores x87 and SSE by FXRSTOR and initialises the rest.
        NativeMemory.Clear(input + InputFx + 464, 48);
        *(ulong*)(input + InputFsBase) = item.State.FsBase;
        *(ulong*)(input + InputGsBase) = item.State.GsBase;
        *(ushort*)(input + InputSelectors) = item.State.Selectors[0];
        *(ushort*)(input + InputSelectors + 2) = item.State.Selectors[3];
        *(ulong*)(input + InputCodeAddress) = item.CodeAddress;
        *(ulong*)(input + InputCodeLength) = (ulong)item.CodeLength;
        item.CodeBytes.CopyTo(new Span<byte>(input + InputCodeBytes, 32));
    }

    private static Process Start(string program, string path)
    {
        var start = new ProcessStartInfo(program) { ArgumentList = { path }, RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        while (true)
        {
            try
            {
                return Process.Start(start) ?? throw new InvalidOperationException("the agent did not start");
            }
            catch (Win32Exception e) when (e.NativeErrorCode == 26)
            {
                // ETXTBSY: a process forked by another test still holds the descriptor that wrote the file; it is about to exec.
                Thread.Yield();
            }
        }
    }

    private void Await()
    {
        // Processor time, not wall time: on a busy machine an agent may wait long without being stuck.
        var spent = agent.TotalProcessorTime;
        using var watch = new Timer(_ => KillIfStuck(spent + BatchLimit), null, BatchLimit, BatchLimit);
        if (agent.StandardOutput.BaseStream.Read(one, 0, 1) != 1)
        {
            agent.WaitForExit();
            throw new InvalidOperationException($"the native agent ended with status {agent.ExitCode} at case {Reached}");
        }
    }

    private void KillIfStuck(TimeSpan limit)
    {
        try
        {
            agent.Refresh();
            if (agent.TotalProcessorTime > limit)
                agent.Kill();
        }
        catch (InvalidOperationException)
        {
            // It has ended by itself.
        }
    }

    public void Dispose()
    {
        // End of file on its standard input tells the agent to leave.
        agent.StandardInput.Close();
        if (!agent.WaitForExit(5000))
            agent.Kill();
        agent.Dispose();
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        file.Dispose();
    }
}

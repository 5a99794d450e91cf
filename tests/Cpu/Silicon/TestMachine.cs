using System.Runtime.InteropServices;
using Emulator.Hardware;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>The interpreter's side: one vCPU on page tables that give it the agent's address map.</summary>
internal sealed unsafe class TestMachine : IDisposable
{
    /// <summary>More than any case executes: what uses it up does not end.</summary>
    private const long Budget = 1_000_000;

    private readonly Platform platform;
    private readonly PhysicalMemory memory;
    private readonly Vcpu vcpu;
    private ulong nextFrame = 1;
    private readonly ulong codeFrame, dataFrame;

    /// <param name="watched">Each access goes through the slow path, and all code is bound to the complete handlers.</param>
    public TestMachine(CpuFeatures features = CpuFeatures.Max, bool watched = false)
    {
        memory = new PhysicalMemory(1 << 20);
        platform = new Platform(memory, 1, TlbGeometry.Default, features);
        vcpu = platform.Vcpus[0];
        var root = new Pfn(nextFrame++);
        codeFrame = nextFrame;
        dataFrame = codeFrame + CodePages;
        nextFrame = dataFrame + DataPages;
        for (var page = 0; page < CodePages; page++)
            Map(root, CodeBase + (ulong)(page * PageSize), codeFrame + (ulong)page, Pte.None);
        for (var page = 0; page < DataPages; page++)
        {
            if (IsMapped(page))
                Map(root, DataBase + (ulong)(page * PageSize), dataFrame + (ulong)page, Pte.NoExecute | (IsWritable(page) ? Pte.Writable : Pte.None));
        }
        CodeMemory.Fill(Hlt);
        if (watched)
            vcpu.Witness = new Onlooker();
        vcpu.Enter();
        Mmu.LoadCr3(vcpu.State, root, 0, false);
    }

    private sealed class Onlooker : TranslationWitness
    {
        public override uint OnFill(in CachedTranslation filled) => 1;
        public override void OnUse(ulong address, Hardware.Memory.Access access, in CachedTranslation cached, uint stamp) => Assert.That(stamp, Is.EqualTo(1));
        public override void OnWalk(ulong address, int level, Pfn table, uint? stamp)
        {
        }

        public override void OnFlush(ulong? address, ulong? context)
        {
        }
    }

    private Span<byte> CodeMemory => new(memory.Pointer(new Pfn(codeFrame)), CodePages * PageSize);

    /// <summary>The seven data pages, contiguous as their addresses are.</summary>
    public Span<byte> Data => new(memory.Pointer(new Pfn(dataFrame)), DataPages * PageSize);

    private void Map(Pfn root, ulong address, ulong frame, Pte leaf)
    {
        var table = (ulong*)memory.Pointer(root);
        for (var level = PageTable.RootLevel; level > 0; level--)
        {
            ref var entry = ref table[PageTable.Index(address, level)];
            if (entry == 0)
                entry = (nextFrame++ * PageSize) | (ulong)(Pte.Present | Pte.Writable | Pte.User);
            table = (ulong*)memory.Pointer(new Pfn((entry & (ulong)Pte.Frame) / PageSize));
        }
        table[PageTable.Index(address, 0)] = (frame * PageSize) | (ulong)(leaf | Pte.Present | Pte.User | Pte.Accessed);
    }

    /// <summary>Puts code among the HLTs, or HLTs in the place of code.</summary>
    public void PlaceCode(ulong address, ReadOnlySpan<byte> bytes)
    {
        for (var page = 0; page < CodePages; page++)
            memory.BeforeWrite(new Pfn(codeFrame + (ulong)page));
        bytes.CopyTo(CodeMemory[(int)(address - CodeBase)..]);
    }

    /// <summary>
    /// Bytes of host stack between <see cref="Run"/> and the last exit: the same for every chain that ends alike, if all its handlers
    /// tail-call (<see cref="Chain"/>).
    /// </summary>
    public nint StackDepth { get; private set; }

    /// <summary>Whether the last run ended at what the interpreter does not implement.</summary>
    public Unsupported Unsupported => vcpu.State->Vector == Vector.InvalidOpcode ? vcpu.State->Unsupported : Unsupported.No;

    /// <summary>Runs from the state up to the first exception; false when there is none.</summary>
    public bool Run(in CpuImage state, out CpuOutcome outcome)
    {
        var c = vcpu.State;
        Load(in state, ref c->Registers);
        c->Budget = Budget;
        c->Vector = 0;
        c->ErrorCode = 0;
        nint here;
        var exit = vcpu.Run();
        StackDepth = (nint)(&here) - c->ExitStack;
        outcome = default;
        Store(ref c->Registers, ref outcome.State);
        outcome.Vector = c->Vector;
        outcome.ErrorCode = c->ErrorCode;
        outcome.FaultAddress = c->FaultAddress;
        return exit == VcpuExit.Exception;
    }

    private static void Load(in CpuImage from, ref VcpuRegisters to)
    {
        var image = from;
        for (var i = 0; i < 16; i++)
            to.Gpr[i] = image.Gpr[i];
        to.Rip = image.Rip;
        to.Rflags = image.Rflags;
        to.FsBase = image.FsBase;
        to.GsBase = image.GsBase;
        for (var i = 0; i < 6; i++)
            to.Selectors[i] = image.Selectors[i];
        to.Mxcsr = image.Mxcsr;
        to.X87.Control = image.X87Control;
        to.X87.Status = image.X87Status;
        to.X87.Valid = image.X87Tag;
        to.X87.Opcode = MemoryMarshal.Read<ushort>(image.FxArea[CpuImage.FxOpcode..]);
        to.X87.InstructionPointer = MemoryMarshal.Read<ulong>(image.FxArea[CpuImage.FxInstruction..]);
        to.X87.DataPointer = MemoryMarshal.Read<ulong>(image.FxArea[CpuImage.FxData..]);
        var top = (image.X87Status >> 11) & 7;
        for (var i = 0; i < 8; i++)
        {
            var physical = (top + i) & 7;
            to.X87.Registers[2 * physical] = MemoryMarshal.Read<ulong>(image.St(i));
            to.X87.Registers[(2 * physical) + 1] = MemoryMarshal.Read<ushort>(image.St(i)[8..]);
        }
        fixed (byte* vectors = to.Vectors)
        {
            for (var i = 0; i < 16; i++)
                image.Xmm(i).CopyTo(new Span<byte>(vectors + (i * VcpuRegisters.VectorSlot), 16));
        }
    }

    private static void Store(ref VcpuRegisters from, ref CpuImage to)
    {
        for (var i = 0; i < 16; i++)
            to.Gpr[i] = from.Gpr[i];
        to.Rip = from.Rip;
        to.Rflags = from.Rflags;
        to.FsBase = from.FsBase;
        to.GsBase = from.GsBase;
        for (var i = 0; i < 6; i++)
            to.Selectors[i] = from.Selectors[i];
        to.Mxcsr = from.Mxcsr;
        to.X87Control = from.X87.Control;
        to.X87Status = from.X87.Status;
        to.X87Tag = from.X87.Valid;
        MemoryMarshal.Write(to.FxArea[CpuImage.FxOpcode..], from.X87.Opcode);
        MemoryMarshal.Write(to.FxArea[CpuImage.FxInstruction..], from.X87.InstructionPointer);
        MemoryMarshal.Write(to.FxArea[CpuImage.FxData..], from.X87.DataPointer);
        var top = (from.X87.Status >> 11) & 7;
        for (var i = 0; i < 8; i++)
        {
            var physical = (top + i) & 7;
            MemoryMarshal.Write(to.St(i), from.X87.Registers[2 * physical]);
            MemoryMarshal.Write(to.St(i)[8..], (ushort)from.X87.Registers[(2 * physical) + 1]);
        }
        fixed (byte* vectors = from.Vectors)
        {
            for (var i = 0; i < 16; i++)
                new ReadOnlySpan<byte>(vectors + (i * VcpuRegisters.VectorSlot), 16).CopyTo(to.Xmm(i));
        }
    }

    /// <summary>Lets another thread have the machine, which calls <see cref="Unpark"/> before anything else.</summary>
    public void Park() => vcpu.Park();

    public void Unpark() => vcpu.Unpark();

    public void Dispose()
    {
        vcpu.Leave();
        platform.Dispose();
    }
}

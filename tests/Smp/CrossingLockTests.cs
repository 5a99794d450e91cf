using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Smp;

/// <summary>
/// A locked operation that crosses a page or a cache line (some hosts never end their own instruction then), and a flush of its second page that is acknowledged between the translation and the moment when the
/// other vCPUs stand still: the old frame belongs to somebody else by then.
/// </summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class CrossingLockTests
{
    private const ulong Code = 0x40_0000, First = 0x60_0000, Second = 0x60_1000, Operand = Second - 4;
    private const ulong Flags = 0x60_4000;
    private const byte Foreign = 0x77;

    private sealed class Drop(ulong address) : IpiRequest
    {
        public override void Serve(Vcpu target) => Mmu.InvalidatePage(target.State, address);
    }

    /// <summary>mov byte [rdx + 1], 1; wait: pause; cmp byte [rdx], 0; je wait.</summary>
    private static readonly byte[] Start = [0xC6, 0x42, 0x01, 0x01, 0xF3, 0x90, 0x80, 0x3A, 0x00, 0x74, 0xF9];

    private static readonly byte[][] Programs =
    [
        [0xF0, 0x48, 0x0F, 0xC1, 0x03, 0xF4], // lock xadd [rbx], rax; hlt
        [0xF0, 0x48, 0x01, 0x03, 0xF4],       // lock add [rbx], rax; hlt
        [0xF0, 0x48, 0x0F, 0xBA, 0x2B, 32, 0xF4], // lock bts qword [rbx], 32; hlt
        [0x48, 0x87, 0x03, 0xF4],             // xchg [rbx], rax; hlt
    ];

    private static ulong Result(int program, ulong old) => program switch
    {
        0 or 1 => old + (1UL << 32),
        2 => old | (1UL << 32),
        _ => 1UL << 32,
    };

    /// <summary>Runs the program while the second page goes to another frame, or to none; returns the exception that ends it.</summary>
    private static (int Vector, ulong Address, ulong Before, ulong After, bool OldFrameKept) Run(int program, bool unmap, CancellationToken cancel)
    {
        using var tables = new GuestTables(vcpus: 2);
        var platform = tables.Platform;
        Pfn code = tables.NewFrame(), low = tables.NewFrame(), old = tables.NewFrame(), now = tables.NewFrame(), flags = tables.NewFrame();
        tables.Map(Code, code, Pte.Present | Pte.User);
        tables.Map(First, low);
        tables.Map(Second, old);
        tables.Map(Flags, flags);
        byte[] bytes = [.. Start, .. Programs[program]];
        bytes.CopyTo(new Span<byte>(platform.Memory.Pointer(code), 32));
        byte* running = platform.Memory.Pointer(flags);
        *(uint*)(platform.Memory.Pointer(low) + 0xFFC) = 0x1111_1111;
        *(uint*)platform.Memory.Pointer(now) = 0x2222_2222;

        Vcpu locker = platform.Vcpus[0], other = platform.Vcpus[1];
        locker.State->Registers.Rip = Code;
        locker.State->Registers.Gpr[VcpuRegisters.Rbx] = Operand;
        locker.State->Registers.Gpr[VcpuRegisters.Rax] = 1UL << 32;
        locker.State->Registers.Gpr[VcpuRegisters.Rdx] = Flags;
        locker.State->Budget = long.MaxValue;
        ulong Held() => *(uint*)(platform.Memory.Pointer(low) + 0xFFC) | (ulong)*(uint*)platform.Memory.Pointer(now) << 32;
        ulong before = Held();

        bool ended = false;
        Threads.RunAll(cancel,
            () =>
            {
                locker.Enter();
                locker.Run();
                locker.Leave();
                Volatile.Write(ref ended, true);
            },
            () =>
            {
                other.Enter();
                while (Volatile.Read(ref running[1]) == 0)
                    other.ServeRequests();
                // As if a third vCPU were at it: the locker translates, and then waits its turn.
                Volatile.Write(ref platform.StoppingOthers, 1);
                Volatile.Write(ref running[0], 1);
                while (Volatile.Read(ref locker.State->Tlb.Counters[Counter.CrossingAccesses]) == 0)
                    other.ServeRequests();
                if (unmap)
                    *tables.Slot(Second) = 0;
                else
                    tables.Map(Second, now);
                platform.InterProcessor.Call(other, VcpuMask.Of(locker.Id), new Drop(Second));
                new Span<byte>(platform.Memory.Pointer(old), 4096).Fill(Foreign);
                Volatile.Write(ref platform.StoppingOthers, 0);
                while (!Volatile.Read(ref ended))
                    other.ServeRequests();
                other.Leave();
            });
        bool kept = !new Span<byte>(platform.Memory.Pointer(old), 4096).ContainsAnyExcept(Foreign);
        return (locker.State->Vector, locker.State->FaultAddress, before, Held(), kept);
    }

    [Test]
    [CancelAfter(60_000)]
    public void It_goes_to_the_frame_that_the_page_has_by_then([Range(0, 3)] int program, CancellationToken cancel)
    {
        var (vector, _, before, after, kept) = Run(program, unmap: false, cancel);
        Assert.That((vector, after, kept), Is.EqualTo((Vector.GeneralProtection, Result(program, before), true)), "vector of the HLT, memory, old frame untouched");
    }

    [Test]
    [CancelAfter(60_000)]
    public void It_faults_and_changes_nothing_when_the_page_is_gone([Range(0, 3)] int program, CancellationToken cancel)
    {
        var (vector, address, before, after, kept) = Run(program, unmap: true, cancel);
        Assert.That((vector, address, after, kept), Is.EqualTo((Vector.PageFault, Second, before, true)));
    }

    [Test]
    [CancelAfter(120_000)]
    public void It_is_atomic_between_vCPUs_that_start_and_stop_all_the_time([Values("page", "line")] string crossed, CancellationToken cancel)
    {
        const int vcpus = 3, rounds = 1500;
        ulong operand = crossed.Equals("page", StringComparison.Ordinal) ? Operand : First + 60;
        using var tables = new GuestTables(vcpus);
        Pfn code = tables.NewFrame(), low = tables.NewFrame(), high = tables.NewFrame();
        tables.Map(Code, code, Pte.Present | Pte.User);
        tables.Map(First, low);
        tables.Map(Second, high);
        // Carries go from one page, or cache line, into the other.
        const uint start = 0xFFFF_FF00;
        uint* firstHalf = (uint*)(tables.Platform.Memory.Pointer(low) + (operand & 0xFFF));
        uint* secondHalf = operand == Operand ? (uint*)tables.Platform.Memory.Pointer(high) : firstHalf + 1;
        *firstHalf = start;
        // again: lock inc qword [rbx]; dec ecx; jnz again; hlt
        byte[] bytes = [0xF0, 0x48, 0xFF, 0x03, 0xFF, 0xC9, 0x75, 0xF8, 0xF4];
        bytes.CopyTo(new Span<byte>(tables.Platform.Memory.Pointer(code), 32));
        Threads.RunAll(cancel, [.. tables.Platform.Vcpus.Select(vcpu => (Action)(() =>
        {
            vcpu.State->Registers.Rip = Code;
            vcpu.State->Registers.Gpr[VcpuRegisters.Rbx] = operand;
            vcpu.State->Registers.Gpr[VcpuRegisters.Rcx] = rounds;
            VcpuExit exit;
            do
            {
                vcpu.Enter();
                vcpu.State->Budget = 7;
                exit = vcpu.Run();
                vcpu.Leave();
            }
            while (exit != VcpuExit.Exception);
        }))]);
        ulong sum = *firstHalf | (ulong)*secondHalf << 32;
        Assert.That(sum, Is.EqualTo(start + (ulong)(vcpus * rounds)));
    }
}

using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Cpu;

/// <summary>Decoded code has a bound, however a program spreads its jumps.</summary>
public sealed unsafe class BlockCacheTests
{
    private const ulong Code = 0x40_0000;
    private const int Frames = 96;

    /// <summary>Frames full of NOPs, entered at each of their bytes: each entry is a block of its own.</summary>
    [Test]
    public void Blocks_at_every_byte_of_every_page_are_dropped_in_time()
    {
        using var tables = new GuestTables(vcpus: 1);
        for (int i = 0; i < Frames; i++)
        {
            Pfn frame = tables.NewFrame();
            tables.Map(Code + (ulong)(i << Pfn.Shift), frame, Pte.Present | Pte.User);
            new Span<byte>(tables.Platform.Memory.Pointer(frame), 4096).Fill(0x90);
        }
        Vcpu vcpu = tables.Platform.Vcpus[0];
        vcpu.Enter();
        bool wasFull = false;
        for (int at = 0; at < (Frames - 1) << Pfn.Shift; at += 2)
        {
            vcpu.State->Registers.Rip = Code + (ulong)at;
            vcpu.State->Budget = 0;
            vcpu.Run();
            wasFull |= tables.Platform.Blocks.Frames.Length == 1 && at > 8 << Pfn.Shift;
        }
        vcpu.Leave();
        Assert.That(tables.Platform.Blocks.IsFull, Is.False);
        Assert.That(wasFull, Is.True, "the test reaches the bound");
    }

    /// <summary>One vCPU that rewrites its own code is sent no request, and never leaves the interpreter.</summary>
    [Test]
    public void Code_that_is_written_anew_again_and_again_takes_the_memory_of_what_it_was()
    {
        using var tables = new GuestTables(vcpus: 1);
        Pfn frame = tables.NewFrame();
        tables.Map(Code, frame, Pte.Present | Pte.User | Pte.Writable);
        // The loop begins with a store to the page that it is in: mov [rip+100h], al; jmp back to it.
        ((ReadOnlySpan<byte>)[0x88, 0x05, 0x00, 0x01, 0x00, 0x00, 0xEB, 0xF8]).CopyTo(new Span<byte>(tables.Platform.Memory.Pointer(frame), 8));
        Vcpu vcpu = tables.Platform.Vcpus[0];
        vcpu.Enter();
        vcpu.State->Registers.Rip = Code;
        vcpu.State->Budget = 10_000;
        vcpu.Run();
        vcpu.Leave();
        Assert.That(tables.Platform.Blocks.Epoch, Is.GreaterThan(1000), "the test rewrites code");
        Assert.That(tables.Platform.Blocks.Waiting, Is.LessThan(4));
    }

    /// <summary>A link between frames would outlive the block it leads to, and lead other mappings of the first frame astray at once.</summary>
    [Test]
    public void A_branch_is_not_linked_into_a_frame_that_took_the_page_while_its_block_ran()
    {
        using var tables = new GuestTables(vcpus: 1, new TlbGeometry(new TlbLevel(1, 1), null));
        Vcpu vcpu = tables.Vcpu;
        Pfn first = Program(1), second = Program(2);
        tables.Map(Code + 0x1000, tables.NewFrame());
        vcpu.Enter();
        Map(second);
        for (int i = 0; i < 8; i++)
            Run(Code + 0x10);
        Map(first);
        Assert.That(Mmu.FetchTranslate(vcpu.State, Code, out _), Is.True);
        tables.Map(Code, second, Pte.Present | Pte.User);
        Assert.That(Run(Code), Is.EqualTo(2), "the load displaced the only translation");
        Map(first);
        Assert.That(Run(Code), Is.EqualTo(1));
        vcpu.Leave();

        void Map(Pfn frame)
        {
            tables.Map(Code, frame, Pte.Present | Pte.User);
            Mmu.FlushAll(vcpu.State, includingGlobals: true);
        }

        Pfn Program(byte result)
        {
            Pfn frame = tables.NewFrame();
            Span<byte> bytes = tables.Platform.Memory.BytesOf(frame);
            // mov rcx, [rbx]; jmp to 10h; there mov eax, result; syscall
            ((ReadOnlySpan<byte>)[0x48, 0x8B, 0x0B, 0xEB, 0x0B]).CopyTo(bytes);
            ((ReadOnlySpan<byte>)[0xB8, result, 0, 0, 0, 0x0F, 0x05]).CopyTo(bytes[0x10..]);
            return frame;
        }

        ulong Run(ulong rip)
        {
            vcpu.State->Registers.Rip = rip;
            vcpu.State->Registers.Gpr[VcpuRegisters.Rbx] = Code + 0x1000;
            vcpu.State->Budget = 1000;
            vcpu.Run();
            return vcpu.State->Registers.Gpr[VcpuRegisters.Rax];
        }
    }

    /// <summary>A block that was warm before the branch was, because faults entered it from elsewhere, is found in the jump cache; the branch must be linked all the same.</summary>
    [Test]
    public void A_branch_is_linked_to_a_block_that_is_known_already()
    {
        using var tables = new GuestTables(vcpus: 1);
        Pfn frame = tables.NewFrame();
        // jmp to 10h; there syscall
        ((ReadOnlySpan<byte>)[0xEB, 0x0E]).CopyTo(tables.Platform.Memory.BytesOf(frame));
        ((ReadOnlySpan<byte>)[0x0F, 0x05]).CopyTo(tables.Platform.Memory.BytesOf(frame)[0x10..]);
        tables.Map(Code, frame, Pte.Present | Pte.User);
        tables.Vcpu.Enter();
        foreach (ulong start in (ulong[])[Code + 0x10, Code])
        {
            for (int i = 0; i < 8; i++)
            {
                tables.State->Registers.Rip = start;
                tables.State->Budget = 1000;
                tables.Vcpu.Run();
            }
        }
        tables.Vcpu.Leave();
        Assert.That(tables.Platform.Blocks.Find(frame.Value, 0)->Ops[0].Imm, Is.EqualTo((long)tables.Platform.Blocks.Find(frame.Value, 0x10)->Ops));
    }
}

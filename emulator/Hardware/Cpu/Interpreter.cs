using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// Runs a vCPU: finds or decodes the block at RIP, enters its chain of handlers, and does what the chain could not (<see cref="HandlerExit"/>).
/// A chain runs through linked blocks until something needs attention, so this loop is not on the hot path.
/// </summary>
internal sealed unsafe class Interpreter : IDisposable
{
    private const int PageSize = 4096, PageMask = PageSize - 1, LongestInstruction = BlockDecoder.LongestInstruction;

    private readonly Vcpu _vcpu;
    private readonly VcpuState* _c;
    private readonly PhysicalMemory _memory;
    private readonly BlockCache _blocks;
    private readonly Platform _platform;
    private readonly BlockDecoder _decoder;
    private readonly ScratchBlocks _scratch;

    public Interpreter(Vcpu vcpu, Platform platform)
    {
        _vcpu = vcpu;
        _c = vcpu.State;
        _platform = platform;
        _memory = platform.Memory;
        _blocks = platform.Blocks;
        _decoder = new BlockDecoder(platform.Features);
        _scratch = new ScratchBlocks(_decoder);
    }

    public void Dispose() => _scratch.Dispose();

    /// <summary>Executes guest code until the kernel is needed. The caller holds the vCPU's permit.</summary>
    public VcpuExit Run()
    {
        _c->LinkFrom = null;
        long budget = _c->Budget;
        // Full fence: whoever retires code after this store finds this vCPU in the count (partner: BlockCache.Reclaim).
        Interlocked.Exchange(ref _c->CodeEpoch, _blocks.Epoch);
        try
        {
            return Loop();
        }
        finally
        {
            _c->Single = 0;
            _c->Instructions += budget - _c->Budget;
            Volatile.Write(ref _c->CodeEpoch, long.MaxValue);
        }
    }

    private VcpuExit Loop()
    {
        VcpuState* c = _c;
        while (true)
        {
            // A vCPU that rewrites its own code hears of no request: it would keep all that it retires.
            if (c->Attention < 0 || c->CodeEpoch != _blocks.Epoch)
            {
                c->LinkFrom = null;
                if (c->Attention < 0)
                    _vcpu.ServeRequests();
                // Outside all blocks, so what was retired until now is not in use here.
                Interlocked.Exchange(ref c->CodeEpoch, _blocks.Epoch);
                if (c->Attention < 0)
                    return VcpuExit.Attention;
            }
            if (c->Budget < 0)
                return VcpuExit.Attention;

            int alignment = (int)(c->Registers.FlagsSystem & Flags.AlignmentCheck);
            if (alignment != c->AlignmentCheck)
            {
                c->AlignmentCheck = alignment;
                Tlb.ClearFront(c);
            }

            bool step = (c->Registers.FlagsSystem & Flags.Trap) != 0;
            Op* target = step || c->Single != 0 ? SingleStep() : Find(c->Registers.Rip);
            if (target == null)
                return VcpuExit.Exception;
            c->Registers.BlockRip = c->Registers.Rip;
            long budget = c->Budget;
            // With nothing left, every way out of the instruction leaves the chain.
            if (c->Single != 0)
                c->Budget = 0;
            var exit = (HandlerExit)target->Fn(c, target);
            if (c->Single != 0)
            {
                c->Budget += budget;
                c->Single = 0;
            }
            switch (exit)
            {
                case HandlerExit.Syscall:
                    return VcpuExit.Syscall;
                case HandlerExit.Exception:
                    return VcpuExit.Exception;
                case HandlerExit.Retry:
                    c->Single = 1;
                    continue;
            }
            if (step)
            {
                c->Vector = Vector.Debug;
                c->ErrorCode = 0;
                return VcpuExit.Exception;
            }
        }
    }

    /// <summary>The operations at RIP, decoded if need be; null with the fault recorded when RIP cannot be fetched.</summary>
    private Op* Find(ulong rip)
    {
        VcpuState* c = _c;
        JumpCacheEntry* cached = JumpCache.Slot(c, rip);
        if (cached->Rip == rip && c->LinkFrom == null)
            return cached->Target;
        int offset = (int)rip & PageMask;
        Block* block;
        Pfn frame;
        while (true)
        {
            if (!Fetch(rip, out frame))
                return null;
            block = _blocks.Find(frame.Value, offset);
            if (block != null)
                break;
            c->LinkFrom = null;
            // Decoding may have served a flush of this very page: the TLB is asked once more before anything runs.
            if (Decode(rip, frame, offset) == null)
                return SingleStep();
        }
        if (!block->Warm())
        {
            c->LinkFrom = null;
            return block->Ops;
        }
        *cached = new JumpCacheEntry { Rip = rip, Target = block->Ops };
        Op* from = c->LinkFrom;
        c->LinkFrom = null;
        // Only within a page: both blocks then live in the same frame and are retired together, and the branch needs no new translation. Not if the TLB lost the
        // page while the branch's block ran and found another frame there now.
        if (from != null && ((c->Registers.BlockRip ^ rip) & ~(ulong)PageMask) == 0 && IsIn(_blocks.Find(frame.Value, (int)c->Registers.BlockRip & PageMask), from))
            Volatile.Write(ref from->Imm, (long)block->Ops);
        return block->Ops;
    }

    // In bounds: only compared.
    private static bool IsIn(Block* block, Op* op) => block != null && op >= block->Ops && op < block->Ops + block->OpCount;

    /// <summary>Decodes and publishes the block at an offset of a frame; null when its first instruction crosses the page's end.</summary>
    private Block* Decode(ulong rip, Pfn frame, int offset)
    {
        while (true)
        {
            if (_blocks.IsFull)
            {
                foreach (Pfn full in _blocks.Frames)
                    _platform.CodeFrames.Invalidate(_vcpu, full, full);
            }
            long epoch = _blocks.Epoch;
            // Before the bytes are read: from here on a store to the frame retires what is decoded, at latest when this vCPU serves interrupts.
            _platform.CodeFrames.Mark(_vcpu, frame);
            ReadOnlySpan<Op> ops = _decoder.Decode(rip, _memory.Pointer(frame) + offset, PageSize - offset, complete: _c->Tlb.Witness != 0);
            if (ops.IsEmpty)
                return null;
            Block* block = _blocks.Add(frame.Value, offset, ops, epoch, _platform.Vcpus);
            if (block != null)
                return block;
        }
    }

    /// <summary>
    /// The instruction at RIP alone, in memory of this vCPU's own: one that crosses a page, or one that stores to decoded code, or every one when TF is set.
    /// </summary>
    private Op* SingleStep()
    {
        VcpuState* c = _c;
        ulong rip = c->Registers.Rip;
        // In bounds: what is taken from the first page ends with it, and the second gives what 15 bytes need beyond that.
        byte* bytes = stackalloc byte[LongestInstruction + 1];
        if (!Fetch(rip, out Pfn frame))
            return null;
        int here = Math.Min(LongestInstruction, PageSize - ((int)rip & PageMask));
        Buffer.MemoryCopy(_memory.Pointer(frame) + ((int)rip & PageMask), bytes, LongestInstruction, here);
        int length = here;
        if (here < LongestInstruction && !_scratch.IsWhole(rip, bytes, here))
        {
            if (!Fetch(rip + (ulong)here, out Pfn next))
                return null;
            Buffer.MemoryCopy(_memory.Pointer(next), bytes + here, LongestInstruction - here, LongestInstruction - here);
            length = LongestInstruction;
        }
        c->Single = 1;
        return _scratch.Get(rip, bytes, length);
    }

    private bool Fetch(ulong rip, out Pfn frame)
    {
        if (Mmu.FetchTranslate(_c, rip, out frame))
            return true;
        _c->Unsupported = Unsupported.No;
        if (_c->Vector == VcpuState.NonCanonical)
        {
            _c->Vector = Vector.GeneralProtection;
            _c->ErrorCode = 0;
        }
        return false;
    }
}

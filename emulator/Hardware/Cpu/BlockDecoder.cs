using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>Decodes a straight run of instructions from one page into operations. One for each vCPU; its buffers are used again.</summary>
internal sealed unsafe class BlockDecoder
{
    /// <summary>Longest block, so that a vCPU polls for attention often enough and a count fits its byte.</summary>
    private const int MaxInstructions = 64;
    /// <summary>In bytes.</summary>
    public const int LongestInstruction = 15;
    /// <summary>No instruction makes more accesses than ENTER's 33; the total fits its byte.</summary>
    private const int MaxAccesses = 220;

    private readonly PageReader _reader = new();
    private readonly Decoder _decoder;
    private readonly Op[] _ops = new Op[MaxInstructions + 1];
    private readonly CpuFeatures _features;

    public BlockDecoder(CpuFeatures features)
    {
        _features = features;
        _decoder = Decoder.Create(64, _reader);
    }

    /// <summary>
    /// Decodes from <paramref name="bytes"/>, which lie at <paramref name="rip"/>, up to the first unconditional branch, the end of the bytes, or
    /// <paramref name="limit"/> instructions. <paramref name="complete"/>: see <see cref="Binding.Complete"/>. Empty when not even one instruction is whole.
    /// </summary>
    public ReadOnlySpan<Op> Decode(ulong rip, byte* bytes, int length, bool complete, int limit = MaxInstructions)
    {
        _reader.Start(bytes, length);
        _decoder.IP = rip;
        int count = 0, accesses = 0, offset = 0;
        bool ended = false, paired = true;
        Instruction previous = default;
        OperandForm previousForm = OperandForm.None;
        // In bounds: count ends at MaxInstructions, and one more holds the jump that ends a block which does not end itself.
        fixed (Op* ops = _ops)
        {
            while (!ended && count < limit && accesses < MaxAccesses && offset < length)
            {
                _decoder.Decode(out Instruction instruction);
                if (_decoder.LastError == DecoderError.NoMoreBytes)
                    break;
                Op* op = ops + count;
                *op = default;
                var b = new Binding { Instruction = ref instruction, Op = op, Features = _features, BlockRip = rip, Complete = complete };
                InstructionBinder.Bind(ref b);
                if (instruction.IsInvalid && instruction.Length == LongestInstruction && IsTooLong(bytes + offset))
                    op->Fn = EntryPoint.Resolve(&TooLong);
                accesses += b.Accesses;
                op->Offset = (ushort)offset;
                op->Count = (byte)++count;
                op->Accesses = (byte)accesses;
                offset += instruction.Length;
                ended = b.EndsBlock;
                // What ends a block may be what raises #UD.
                Handler pair = paired || complete || ended ? null : Pairs.Find(previous, previousForm, instruction, b.Memory);
                paired = pair != null;
                if (paired)
                    op[-1].Fn = EntryPoint.Resolve(pair);
                (previous, previousForm) = (instruction, b.Memory);
            }
            if (count == 0)
                return [];
            if (ended)
                return new ReadOnlySpan<Op>(_ops, 0, count);
            ops[count] = new Op
            {
                Fn = EntryPoint.Resolve(&Integer.Branches.JumpRelative),
                Disp = offset,
                Offset = (ushort)offset,
                Count = (byte)count,
                Accesses = (byte)accesses,
            };
            return new ReadOnlySpan<Op>(_ops, 0, count + 1);
        }
    }

    private static ReadOnlySpan<byte> LegacyPrefixes => [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3];

    /// <summary>
    /// Whether 15 bytes that are no instruction are the beginning of one, which raises #GP instead of #UD (SDM vol. 2, 2.3.11): the decoder does not tell. Opcodes that
    /// do not exist have no operands that would make them too long. What is being decoded ends with such bytes, so the decoder is free.
    /// </summary>
    private bool IsTooLong(byte* bytes)
    {
        int prefixes = new ReadOnlySpan<byte>(bytes, LongestInstruction).IndexOfAnyExcept(LegacyPrefixes);
        if (prefixes < 0)
            return true;
        byte* rest = stackalloc byte[LongestInstruction];
        new Span<byte>(rest, LongestInstruction).Clear();
        Buffer.MemoryCopy(bytes + prefixes, rest, LongestInstruction, LongestInstruction - prefixes);
        _reader.Start(rest, LongestInstruction);
        _decoder.Decode(out Instruction instruction);
        return !instruction.IsInvalid && prefixes + instruction.Length > LongestInstruction;
    }

    [MethodImpl(Chain.Hot)]
    private static nint TooLong(VcpuState* c, Op* op) => Chain.Raise(c, op, Vector.GeneralProtection);

    private sealed class PageReader : CodeReader
    {
        private byte* _next, _end;

        public void Start(byte* bytes, int length)
        {
            _next = bytes;
            _end = bytes + length;
        }

        public override int ReadByte() => _next < _end ? *_next++ : -1;
    }
}

using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Mirrors;

/// <summary>Something that a device does with a part of a buffer.</summary>
internal sealed class DmaJob(ImporterUse use, ImporterOp op, ulong offset, ulong length)
{
    public ImporterUse Use => use;

    public ImporterOp Op => op;

    public ulong Offset => offset;

    public ulong Length => length;

    public bool Writes => op is ImporterOp.Write or ImporterOp.Fill;

    /// <summary>Of READ and WRITE: the bytes, between the device and the program.</summary>
    public byte[] Data { get; init; } = [];

    /// <summary>Of FILL the byte, of SUM the sum.</summary>
    public ulong Value { get; set; }

    /// <summary>Signalled when it is done.</summary>
    public DmaFence Fence { get; } = new();

    /// <summary>The mapping that it uses, and what must have ended before: set when it is committed.</summary>
    public SgTable? Table { get; set; }

    public DmaFence[] Dependencies { get; set; } = [];

    /// <summary>Works on the part of a page that the job is about. In bounds: its range was compared with the buffer's size, and a table has an entry for each page of that.</summary>
    public void Touch(PhysicalMemory memory, Pfn frame, ulong at, int count)
    {
        Span<byte> bytes = memory.BytesOf(frame).Slice((int)(at & (Pfn.Size - 1)), count);
        if (Writes)
            memory.BeforeWrite(frame);
        switch (op)
        {
            case ImporterOp.Read:
                bytes.CopyTo(Data.AsSpan((int)(at - offset)));
                break;
            case ImporterOp.Write:
                Data.AsSpan((int)(at - offset), count).CopyTo(bytes);
                break;
            case ImporterOp.Fill:
                bytes.Fill((byte)Value);
                break;
            default:
                foreach (byte b in bytes)
                    Value += b;
                break;
        }
    }
}

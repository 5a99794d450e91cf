using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Memory;

/// <summary>
/// The machine's memory: one host reservation, committed where it is touched, so that a machine may have far more than its host.
/// Beside it lie two bytes a frame, reserved in the same lazy way, for the protocol of <see cref="CodeFrames"/>.
/// </summary>
/// <remarks>In bounds: every member that takes a frame compares it with <see cref="FrameCount"/>, but for <see cref="Expect"/>, which only advises the host.</remarks>
public sealed unsafe class PhysicalMemory : IDisposable
{
    private bool _disposed;

    /// <param name="bytes">A multiple of the frame size; at most 2^46, what <see cref="PagingControls.Linux"/> can address.</param>
    public PhysicalMemory(ulong bytes)
    {
        if (bytes == 0 || bytes % Pfn.Size != 0 || bytes > 1UL << 46)
            throw new ArgumentOutOfRangeException(nameof(bytes), bytes, "Physical memory is a multiple of 4096 bytes, up to 64 TiB.");
        FrameCount = bytes / Pfn.Size;
        Base = HostMemory.Reserve(bytes);
        Code = HostMemory.Reserve(FrameCount);
        Exposed = HostMemory.Reserve(FrameCount);
    }

    public ulong FrameCount { get; }
    public ulong Bytes => FrameCount * Pfn.Size;
    /// <summary>Host address of frame 0.</summary>
    public byte* Base { get; }

    /// <summary>A <see cref="CodeState"/> for each frame.</summary>
    internal byte* Code { get; }
    /// <summary>Not zero: somebody may hold a permission to write to the frame which is not asked for at each store.</summary>
    internal byte* Exposed { get; }
    internal CodeFrames? CodeFrames { get; set; }

    /// <summary>Host address of a frame.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such frame; numbers out of page tables may be anything.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Pointer(Pfn frame)
    {
        Require(frame);
        return Base + frame.Address;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Require(Pfn frame)
    {
        if (frame.Value >= FrameCount)
            Refuse(frame);
    }

    private static void Refuse(Pfn frame) => throw new ArgumentOutOfRangeException(nameof(frame), frame, "There is no such frame.");

    /// <summary>The bytes of a frame, for devices and tests. Before writing to them see <see cref="BeforeWrite"/>.</summary>
    public Span<byte> BytesOf(Pfn frame) => new(Pointer(frame), (int)Pfn.Size);

    /// <summary>The frame that a host address inside <see cref="Base"/> belongs to.</summary>
    public Pfn FrameOf(byte* host) => new((ulong)(host - Base) >> Pfn.Shift);

    /// <summary>
    /// Called before every write to a frame that guests may have mapped, other than a vCPU's store: kernel copies, devices. Drops the
    /// frame's decoded code in every vCPU. The caller holds a vCPU's permit until the write is done, so that no vCPU can decode the
    /// frame meanwhile; a thread that holds none calls it once more after the write.
    /// </summary>
    public void BeforeWrite(Pfn frame)
    {
        Require(frame);
        if (Volatile.Read(ref Exposed[frame.Value]) == 0)
        {
            Volatile.Write(ref Exposed[frame.Value], 1);
            Interlocked.MemoryBarrier(); // partner: CodeFrames.Mark, between its store to Code and its load of Exposed
        }
        DropCode(frame);
    }

    /// <summary>Drops the decoded code of a frame that no guest has mapped: one that is being freed or handed out.</summary>
    public void DropCode(Pfn frame)
    {
        Require(frame);
        if (Volatile.Read(ref Code[frame.Value]) != (byte)CodeState.None)
            CodeFrames?.Invalidate(null, frame, frame);
    }

    /// <summary>Says of frames that nobody has touched yet that all of them soon will be.</summary>
    /// <param name="first">With <paramref name="count"/>, a range of frames that exist: asserted only.</param>
    public void Expect(Pfn first, ulong count)
    {
        System.Diagnostics.Debug.Assert(count <= FrameCount && first.Value <= FrameCount - count);
        HostMemory.PreferHugePages(Base + first.Address, count * Pfn.Size);
    }

    /// <summary>Gives the frames' memory back to the host; they read as zeros afterwards.</summary>
    public void Discard(Pfn first, ulong count)
    {
        if (first.Value > FrameCount || count > FrameCount - first.Value)
            throw new ArgumentOutOfRangeException(nameof(count), count, "The range ends behind the last frame.");
        for (ulong i = 0; i < count;)
        {
            var rest = new ReadOnlySpan<byte>(Code + first.Value + i, (int)Math.Min(count - i, int.MaxValue));
            int code = rest.IndexOfAnyExcept((byte)CodeState.None);
            if (code >= 0)
                DropCode(new Pfn(first.Value + i + (ulong)code));
            i += code < 0 ? (ulong)rest.Length : (ulong)code + 1;
        }
        HostMemory.Discard(Base + first.Address, count * Pfn.Size);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        HostMemory.Release(Base, Bytes);
        HostMemory.Release(Code, FrameCount);
        HostMemory.Release(Exposed, FrameCount);
    }
}

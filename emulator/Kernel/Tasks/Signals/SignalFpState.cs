using System.Buffers.Binary;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks;

/// <summary>
/// The extended state of a signal frame (arch/x86/kernel/fpu/signal.c): an XSAVE area in the standard format that says so in the bytes FXSAVE leaves to
/// software (struct _fpx_sw_bytes), and behind it a second magic number; or the FXSAVE image alone on a processor without XSAVE.
/// </summary>
/// <remarks>In bounds: sizes are constants; the size that a frame names is used only if it is ours, and the state is judged in a copy that no other thread changes.</remarks>
internal static unsafe class SignalFpState
{
    /// <summary>Bytes that the largest state takes in a frame.</summary>
    public const int MaxSize = ExtendedState.Size + MagicSize;

    private const uint FP_XSTATE_MAGIC1 = 0x46505853, FP_XSTATE_MAGIC2 = 0x46505845;
    private const int MagicSize = 4, SoftwareOffset = 464, SoftwareSize = 48;

    // struct _fpx_sw_bytes.
    private const int Magic1 = 0, ExtendedSize = 4, Features = 8, StateSize = 16;

    public static bool IsExtended(Task task) => task.Machine.Platform.Features.HasFlag(CpuFeatures.Xsave);

    /// <summary>Composes the state as it lies in a frame; returns its size.</summary>
    public static int Store(VcpuRegisters* r, bool extended, Span<byte> to)
    {
        if (!extended)
        {
            FxsaveImage.Store(r, to);
            return FxsaveImage.Size;
        }
        ExtendedState.Store(r, to);
        Span<byte> software = to.Slice(SoftwareOffset, SoftwareSize);
        BinaryPrimitives.WriteUInt32LittleEndian(software[Magic1..], FP_XSTATE_MAGIC1);
        BinaryPrimitives.WriteUInt32LittleEndian(software[ExtendedSize..], MaxSize);
        BinaryPrimitives.WriteUInt64LittleEndian(software[Features..], ExtendedState.Components);
        BinaryPrimitives.WriteUInt32LittleEndian(software[StateSize..], ExtendedState.Size);
        BinaryPrimitives.WriteUInt32LittleEndian(to[ExtendedState.Size..], FP_XSTATE_MAGIC2);
        return MaxSize;
    }

    /// <summary>fpu__restore_sig: takes the state at <paramref name="address"/>, or the initial one for 0. False: unreadable, or refused by the processor.</summary>
    public static bool Restore(Task task, ulong address)
    {
        if (address == 0)
        {
            FxsaveImage.Reset(task.Registers);
            return true;
        }
        Span<byte> state = stackalloc byte[ExtendedState.Size];
        ulong? features = null;
        if (IsExtended(task) && !TryFindFeatures(task, address, out features))
            return false;
        // As XRSTOR and FXRSTOR want it.
        if ((address & (features is null ? 15UL : 63UL)) != 0)
            return false;
        if (!task.CopyFromUser(address, features is null ? state[..FxsaveImage.Size] : state))
            return false;
        VcpuRegisters* r = task.Registers;
        return features is { } offered ? ExtendedState.Load(r, state, offered) && ResetOthers(r, offered) : FxsaveImage.Load(r, state);
    }

    /// <summary>
    /// check_xstate_in_sigframe: the components that the frame offers, null when it holds an FXSAVE image only, as one composed by a program of old does.
    /// False: it cannot be read.
    /// </summary>
    private static bool TryFindFeatures(Task task, ulong address, out ulong? features)
    {
        features = null;
        Span<byte> software = stackalloc byte[SoftwareSize];
        if (!task.CopyFromUser(address + SoftwareOffset, software))
            return false;
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(software[StateSize..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(software[Magic1..]) != FP_XSTATE_MAGIC1
            || size != ExtendedState.Size || size > BinaryPrimitives.ReadUInt32LittleEndian(software[ExtendedSize..]))
            return true;
        Span<byte> end = stackalloc byte[MagicSize];
        if (!task.CopyFromUser(address + size, end))
            return false;
        if (BinaryPrimitives.ReadUInt32LittleEndian(end) == FP_XSTATE_MAGIC2)
            features = BinaryPrimitives.ReadUInt64LittleEndian(software[Features..]);
        return true;
    }

    /// <summary>Components that the frame does not offer become as in a new program.</summary>
    private static bool ResetOthers(VcpuRegisters* r, ulong features)
    {
        var initial = default(VcpuRegisters);
        FxsaveImage.Reset(&initial);
        Span<byte> state = stackalloc byte[ExtendedState.Size];
        ExtendedState.Store(&initial, state);
        return ExtendedState.Load(r, state, ~features);
    }
}

using System.Runtime.InteropServices;
using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks;

/// <summary>
/// The stack frame of a signal handler, as x86-64 Linux lays it out (arch/x86/include/asm/sigframe.h, include/uapi/asm/sigcontext.h):
/// return address, ucontext, siginfo; above them, 64-byte aligned, the processor's extended state (<see cref="SignalFpState"/>). Debuggers and
/// unwinders know this layout by heart.
/// </summary>
internal static unsafe class SignalFrame
{
    internal const int SS_ONSTACK = 1, SS_DISABLE = 2;
    internal const int SS_AUTODISARM = 1 << 31;
    internal const ulong MinimumStack = 2048;

    private const int RedZone = 128;
    private const ulong UserCode = 0x33, UserStack = 0x2B;
    private const ulong UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4;

    private const ulong DirectionFlag = 1 << 10, TrapFlag = 1 << 8, ResumeFlag = 1 << 16, AlignmentCheck = 1 << 18, OverflowFlag = 1 << 11;

    /// <summary>RFLAGS bits that sigreturn takes from the frame (FIX_EFLAGS).</summary>
    private const ulong RestorableFlags = AlignmentCheck | OverflowFlag | DirectionFlag | TrapFlag | ResumeFlag | 0xD5;

    [StructLayout(LayoutKind.Sequential)]
    private struct Frame
    {
        public ulong ReturnAddress;
        public ulong Flags;
        public ulong Link;
        public ulong StackBase;
        public int StackFlags;
        public int Padding;
        public ulong StackSize;
        public ulong R8, R9, R10, R11, R12, R13, R14, R15, Rdi, Rsi, Rbp, Rbx, Rdx, Rax, Rcx, Rsp, Rip, Rflags;
        public ulong Segments; // cs, gs, fs, ss: 16 bits each
        public ulong ErrorCode, Vector, OldMask, FaultAddress;
        public ulong FpState;
        public fixed ulong Reserved[8];
        public ulong Mask;
        public fixed byte Info[SignalInfo.Size];
    }

    /// <summary>The stack's state in the words of SS_ONSTACK and SS_DISABLE, for a stack pointer.</summary>
    internal static int StackState(Task task, ulong rsp)
    {
        if (task.AltStackSize == 0)
            return SS_DISABLE;
        return IsOnAltStack(task, rsp) ? SS_ONSTACK : 0;
    }

    internal static bool IsOnAltStack(Task task, ulong rsp) =>
        (task.AltStackFlags & SS_AUTODISARM) == 0 && rsp > task.AltStackBase && rsp - task.AltStackBase <= task.AltStackSize;

    /// <summary>Pushes the frame and points the registers at the handler. False: the stack cannot take it.</summary>
    internal static bool Push(Task task, SignalInfo info, in SignalAction action, ulong mask)
    {
        // Without a restorer there is nowhere to return to (arch/x86/kernel/signal_64.c:x64_setup_rt_frame).
        if (!action.Has(SignalAction.SA_RESTORER))
            return false;
        VcpuRegisters* r = task.Registers;
        ulong rsp = r->Gpr[VcpuRegisters.Rsp];
        ulong sp = rsp - RedZone;
        bool onAltStack = IsOnAltStack(task, rsp);
        bool entering = action.Has(SignalAction.SA_ONSTACK) && StackState(task, rsp) == 0;
        if (entering)
            sp = task.AltStackBase + task.AltStackSize;
        bool extended = SignalFpState.IsExtended(task);
        // In bounds: the frame lies in values of fixed size, and goes to the stack as any copy to user memory does; its address may wrap, which is refused there.
        Span<byte> state = stackalloc byte[SignalFpState.MaxSize];
        state = state[..SignalFpState.Store(r, extended, state)];
        ulong fpState = (sp - (ulong)state.Length) & ~63UL;
        ulong at = ((fpState - (ulong)sizeof(Frame)) & ~15UL) - 8;
        if ((onAltStack || entering) && !(at > task.AltStackBase && at - task.AltStackBase <= task.AltStackSize))
            return false;

        var frame = new Frame
        {
            ReturnAddress = action.Restorer,
            Flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (extended ? UC_FP_XSTATE : 0),
            StackBase = task.AltStackBase,
            StackFlags = task.AltStackFlags,
            StackSize = task.AltStackSize,
            R8 = r->Gpr[8],
            R9 = r->Gpr[9],
            R10 = r->Gpr[10],
            R11 = r->Gpr[11],
            R12 = r->Gpr[12],
            R13 = r->Gpr[13],
            R14 = r->Gpr[14],
            R15 = r->Gpr[15],
            Rdi = r->Gpr[VcpuRegisters.Rdi],
            Rsi = r->Gpr[VcpuRegisters.Rsi],
            Rbp = r->Gpr[VcpuRegisters.Rbp],
            Rbx = r->Gpr[VcpuRegisters.Rbx],
            Rdx = r->Gpr[VcpuRegisters.Rdx],
            Rax = r->Gpr[VcpuRegisters.Rax],
            Rcx = r->Gpr[VcpuRegisters.Rcx],
            Rsp = rsp,
            Rip = r->Rip,
            Rflags = r->Rflags,
            Segments = UserCode | UserStack << 48,
            ErrorCode = task.LastErrorCode,
            Vector = (ulong)task.LastVector,
            OldMask = mask,
            FaultAddress = task.LastFaultAddress,
            FpState = fpState,
            Mask = mask,
        };
        info.Encode(new Span<byte>(frame.Info, SignalInfo.Size));
        if (!task.CopyToUser(fpState, state) || !task.CopyToUser(at, MemoryMarshal.AsBytes(new ReadOnlySpan<Frame>(in frame))))
            return false;
        if ((task.AltStackFlags & SS_AUTODISARM) != 0)
            ResetAltStack(task);

        r = task.Registers; // Writing may have slept.
        r->Gpr[VcpuRegisters.Rdi] = (ulong)info.Number;
        r->Gpr[VcpuRegisters.Rsi] = at + (ulong)(sizeof(Frame) - SignalInfo.Size);
        r->Gpr[VcpuRegisters.Rdx] = at + 8;
        r->Gpr[VcpuRegisters.Rax] = 0;
        r->Gpr[VcpuRegisters.Rsp] = at;
        r->Rip = action.Handler;
        r->Rflags &= ~(DirectionFlag | TrapFlag | ResumeFlag);
        FxsaveImage.Reset(r);
        return true;
    }

    /// <summary>rt_sigreturn: takes everything back from the frame. False: it cannot be read, or lies.</summary>
    internal static bool Pop(Task task)
    {
        ulong at = task.Registers->Gpr[VcpuRegisters.Rsp] - 8;
        Frame frame = default;
        if (!task.CopyFromUser(at, MemoryMarshal.AsBytes(new Span<Frame>(ref frame))))
            return false;
        if (!SignalFpState.Restore(task, frame.FpState))
            return false;
        VcpuRegisters* r = task.Registers;
        r->Gpr[8] = frame.R8;
        r->Gpr[9] = frame.R9;
        r->Gpr[10] = frame.R10;
        r->Gpr[11] = frame.R11;
        r->Gpr[12] = frame.R12;
        r->Gpr[13] = frame.R13;
        r->Gpr[14] = frame.R14;
        r->Gpr[15] = frame.R15;
        r->Gpr[VcpuRegisters.Rdi] = frame.Rdi;
        r->Gpr[VcpuRegisters.Rsi] = frame.Rsi;
        r->Gpr[VcpuRegisters.Rbp] = frame.Rbp;
        r->Gpr[VcpuRegisters.Rbx] = frame.Rbx;
        r->Gpr[VcpuRegisters.Rdx] = frame.Rdx;
        r->Gpr[VcpuRegisters.Rax] = frame.Rax;
        r->Gpr[VcpuRegisters.Rcx] = frame.Rcx;
        r->Gpr[VcpuRegisters.Rsp] = frame.Rsp;
        r->Rip = frame.Rip;
        r->Rflags = (r->Rflags & ~RestorableFlags) | (frame.Rflags & RestorableFlags);
        task.SetMask(frame.Mask);
        _ = SetAltStack(task, frame.StackBase, frame.StackFlags, frame.StackSize, frame.Rsp);
        return true;
    }

    /// <summary>sigaltstack (kernel/signal.c:do_sigaltstack).</summary>
    internal static long SetAltStack(Task task, ulong stackBase, int flags, ulong size, ulong rsp)
    {
        if (IsOnAltStack(task, rsp))
            return -Errno.EPERM;
        int mode = flags & ~SS_AUTODISARM;
        if (mode is not (SS_DISABLE or SS_ONSTACK or 0))
            return -Errno.EINVAL;
        if (mode == SS_DISABLE)
        {
            (stackBase, size) = (0, 0);
        }
        else if (size < MinimumStack)
        {
            return -Errno.ENOMEM;
        }
        task.AltStackBase = stackBase;
        task.AltStackSize = size;
        task.AltStackFlags = flags;
        return 0;
    }

    internal static void ResetAltStack(Task task)
    {
        task.AltStackBase = 0;
        task.AltStackSize = 0;
        task.AltStackFlags = SS_DISABLE;
    }
}

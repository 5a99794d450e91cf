using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks;

/// <summary>Exceptions of guest code become page faults served, or signals (arch/x86/kernel/traps.c, arch/x86/mm/fault.c).</summary>
/// <remarks>In bounds: a fault's address is looked up, and never made a pointer here.</remarks>
internal static unsafe class Exceptions
{
    private const int DivideError = 0, Debug = 1, Breakpoint = 3, Overflow = 4, Bound = 5, InvalidOpcode = 6, SegmentNotPresent = 11, StackFault = 12,
        GeneralProtection = 13, PageFault = 14, X87Error = 16, AlignmentCheck = 17, SimdError = 19;

    internal static void Handle(Task task)
    {
        VcpuState* state = task.Vcpu!.State;
        int vector = state->Vector;
        uint error = state->ErrorCode;
        ulong address = state->FaultAddress;
        if (vector == PageFault)
        {
            FaultOutcome outcome = task.Mm.HandleFault(task, address, FlagsOf(error));
            if (outcome == FaultOutcome.Done)
                return;
            Remember(task, vector, FaultAddressError(address, error), address);
            Raise(task, vector, error, PageFaultSignal(outcome, address));
            return;
        }
        Remember(task, vector, error, null);
        Raise(task, vector, error, SignalFor(task.Registers, vector));
    }

    /// <summary>Addresses of the kernel's half always look like protection faults to user mode (arch/x86/mm/fault.c:sanitize_error_code).</summary>
    private static uint FaultAddressError(ulong address, uint error) => (long)address < 0 ? error | 1 : error;

    /// <summary>The error code's W/R and I/D bits (SDM vol. 3, 4.7).</summary>
    private static FaultFlags FlagsOf(uint error) =>
        ((error & 2) != 0 ? FaultFlags.Write : FaultFlags.Read) | ((error & 16) != 0 ? FaultFlags.Execute : FaultFlags.Read);

    private static void Remember(Task task, int vector, uint error, ulong? address)
    {
        task.LastVector = vector;
        task.LastErrorCode = error;
        if (address is { } a)
            task.LastFaultAddress = a;
    }

    private static void Raise(Task task, int vector, uint error, SignalInfo info) => task.Force(info with { Vector = vector, ErrorCode = error });

    private static SignalInfo PageFaultSignal(FaultOutcome outcome, ulong address) => outcome switch
    {
        FaultOutcome.Forbidden => new SignalInfo(Signal.SIGSEGV, SignalInfo.SEGV_ACCERR) { Address = address },
        FaultOutcome.BusError => new SignalInfo(Signal.SIGBUS, SignalInfo.BUS_ADRERR) { Address = address },
        FaultOutcome.OutOfMemory => new SignalInfo(Signal.SIGKILL, SignalInfo.SI_KERNEL) { Address = address },
        _ => new SignalInfo(Signal.SIGSEGV, SignalInfo.SEGV_MAPERR) { Address = address },
    };

    private static SignalInfo SignalFor(VcpuRegisters* r, int vector) => vector switch
    {
        DivideError => new SignalInfo(Signal.SIGFPE, SignalInfo.FPE_INTDIV) { Address = r->Rip },
        Debug => new SignalInfo(Signal.SIGTRAP, SignalInfo.TRAP_TRACE) { Address = r->Rip },
        Breakpoint => new SignalInfo(Signal.SIGTRAP, SignalInfo.SI_KERNEL),
        InvalidOpcode => new SignalInfo(Signal.SIGILL, SignalInfo.ILL_ILLOPN) { Address = r->Rip },
        X87Error => new SignalInfo(Signal.SIGFPE, FloatingPointCode((uint)(r->X87.Status & ~r->X87.Control))) { Address = r->Rip },
        SimdError => new SignalInfo(Signal.SIGFPE, FloatingPointCode(~(r->Mxcsr >> 7) & r->Mxcsr)) { Address = r->Rip },
        AlignmentCheck => new SignalInfo(Signal.SIGBUS, SignalInfo.BUS_ADRALN),
        SegmentNotPresent or StackFault => new SignalInfo(Signal.SIGBUS, SignalInfo.SI_KERNEL),
        _ => new SignalInfo(Signal.SIGSEGV, SignalInfo.SI_KERNEL),
    };

    /// <summary>Which of the raised and unmasked exceptions counts (arch/x86/kernel/fpu/core.c:fpu__exception_code).</summary>
    private static int FloatingPointCode(uint raised) =>
        (raised & 0x01) != 0 ? SignalInfo.FPE_FLTINV
        : (raised & 0x04) != 0 ? SignalInfo.FPE_FLTDIV
        : (raised & 0x08) != 0 ? SignalInfo.FPE_FLTOVF
        : (raised & 0x12) != 0 ? SignalInfo.FPE_FLTUND
        : (raised & 0x20) != 0 ? SignalInfo.FPE_FLTRES
        : 0;
}

using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Reports;

/// <summary>A signal with the reason in its si_code (include/uapi/asm-generic/siginfo.h).</summary>
internal static class SignalReason
{
    public static string Describe(int signal, int code)
    {
        string? why = (signal, code) switch
        {
            (11, 1) => "SEGV_MAPERR: nothing is mapped there",
            (11, 2) => "SEGV_ACCERR: the mapping forbids it",
            (11, 128) => "SI_KERNEL",
            (7, 1) => "BUS_ADRALN: misaligned",
            (7, 2) => "BUS_ADRERR: beyond the end of the mapped object",
            (8, 1) => "FPE_INTDIV: integer division by zero, or overflow",
            (8, 3) => "FPE_FLTDIV",
            (8, 4) => "FPE_FLTOVF",
            (8, 5) => "FPE_FLTUND",
            (8, 6) => "FPE_FLTRES",
            (8, 7) => "FPE_FLTINV",
            (4, 2) => "ILL_ILLOPN",
            (5, 1) => "TRAP_BRKPT",
            (5, 2) => "TRAP_TRACE",
            _ => null,
        };
        return why is null ? SignalText.Name(signal) : $"{SignalText.Name(signal)} ({why})";
    }
}

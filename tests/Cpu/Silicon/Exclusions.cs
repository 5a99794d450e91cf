using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>The one table of implemented forms that are not compared with the host's processor, and why.</summary>
internal static class Exclusions
{
    /// <summary>The reason, or null for a form that is compared.</summary>
    public static string? Reason(Code code) => code.Mnemonic() switch
    {
        Mnemonic.Rdtsc or Mnemonic.Rdtscp or Mnemonic.Rdrand or Mnemonic.Rdseed => "gives another result each time",
        Mnemonic.Cpuid or Mnemonic.Xgetbv or Mnemonic.Rdpid => "tells what the processor is, and the virtual one is another",
        Mnemonic.Syscall or Mnemonic.Sysenter => "enters the host's kernel",
        Mnemonic.Sgdt or Mnemonic.Sidt or Mnemonic.Sldt or Mnemonic.Smsw or Mnemonic.Str => "emulated by the host's kernel where UMIP is on (arch/x86/kernel/umip.c)",
        Mnemonic.Xbegin or Mnemonic.Xend or Mnemonic.Xabort or Mnemonic.Xtest => "depends on the host's transactional memory",
        Mnemonic.Xsave or Mnemonic.Xsave64 or Mnemonic.Xsavec or Mnemonic.Xsavec64 or Mnemonic.Xsaveopt or Mnemonic.Xsaveopt64
            or Mnemonic.Xrstor or Mnemonic.Xrstor64 => "depends on the state components that the host enables",
        _ => Encodable(code),
    };

    private static string? Encodable(Code code)
    {
        var text = code.ToString();
        if (code is Code.Fstenv_m14byte or Code.Fstenv_m28byte or Code.Fstcw_m2byte or Code.Feni or Code.Fdisi or Code.Fclex or Code.Finit or Code.Fsetpm
            or Code.Fsave_m94byte or Code.Fsave_m108byte or Code.Fstsw_m2byte or Code.Fstsw_AX)
            return "an assembler's name for two instructions, WAIT and the form without it";
        if (text.EndsWith("rel16", StringComparison.Ordinal) || text.Contains("_rel8_16", StringComparison.Ordinal))
            return "has 16-bit branches in 64-bit mode on AMD's processors only";
        return null;
    }
}

using System.Runtime.InteropServices;

namespace Emulator.Hardware.Memory;

/// <summary>Native state of a vCPU's TLB and paging-structure cache.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TlbState
{
    public ulong Cr3;
}

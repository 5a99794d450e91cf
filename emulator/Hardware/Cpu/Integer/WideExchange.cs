using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>
/// CMPXCHG16B on guest memory. C# has no 128-bit exchange, so on x86-64 hosts a few bytes of machine code do it
/// (<see cref="HostCode.WideExchange"/>); elsewhere the other vCPUs are stopped meanwhile.
/// </summary>
internal static unsafe class WideExchange
{
    /// <summary>Compares RDX:RAX with memory, 16-byte aligned; stores RCX:RBX when equal, else loads RDX:RAX. False when the access faulted.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool TryExchange(VcpuState* c, ulong address, out bool equal)
    {
        equal = false;
        while (true)
        {
            UInt128* target = Access.Modify<UInt128>(c, address);
            if (target == null)
                return false;
            // In bounds: aligned to 16 bytes, so in one page and never in the bounce buffer. The machine code touches the 16 bytes and the first four registers.
            if (c->WideExchange != null)
            {
                equal = ((delegate* unmanaged[SuppressGCTransition]<UInt128*, ulong*, int>)c->WideExchange)(target, c->Registers.Gpr) != 0;
                return true;
            }
            var exchange = new StoppedExchange(c, target);
            Smp.Vcpu self = Smp.Vcpu.Of(c);
            if (!exchange.Run(self, Smp.StoppedOthers.Served(self)))
                continue;
            equal = exchange.Equal;
            return true;
        }
    }

    private sealed class StoppedExchange(VcpuState* c, UInt128* target) : Smp.StoppedOthers
    {
        public bool Equal { get; private set; }

        protected override void Act()
        {
            var memory = (ulong*)target;
            ulong* gpr = c->Registers.Gpr;
            Equal = memory[0] == gpr[VcpuRegisters.Rax] && memory[1] == gpr[VcpuRegisters.Rdx];
            if (Equal)
            {
                memory[0] = gpr[VcpuRegisters.Rbx];
                memory[1] = gpr[VcpuRegisters.Rcx];
            }
            else
            {
                gpr[VcpuRegisters.Rax] = memory[0];
                gpr[VcpuRegisters.Rdx] = memory[1];
            }
        }
    }
}

// Types whose owners replace these lines: delete the line together with pushing the real type.
namespace Emulator.Kernel.Files
{
    public sealed class FdTable;

    public sealed class FsContext;
}

namespace Emulator.Kernel.Memory
{
    public sealed class Mm;
}

namespace Emulator.Hardware.Smp
{
    public enum VcpuExit { Attention, Syscall, Exception }

    public sealed unsafe class Vcpu
    {
        public int Id { get; init; }
        public Emulator.Hardware.Cpu.VcpuState* State { get; init; }
        public VcpuExit Run() => VcpuExit.Attention;
        public void Enter() { }
        public void Leave() { }
        public void RequestAttention() { }
        public void ServeRequests() { }
    }

    public sealed class Platform
    {
        public Vcpu[] Vcpus { get; } = [];
    }
}

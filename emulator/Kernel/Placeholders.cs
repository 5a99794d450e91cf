// Types whose owners replace these lines: delete the line together with pushing the real type.
namespace Emulator.Kernel.Files
{
    public sealed partial class Vfs
    {
        public string PathName(Path path) => "/";
    }
}

namespace Emulator.Kernel.Memory
{
    public sealed class Mm;

    public abstract class PageCache;
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

namespace Emulator.Kernel
{
    public sealed partial class Machine
    {
        public Emulator.Kernel.Files.Vfs Vfs { get; } = new();
    }
}

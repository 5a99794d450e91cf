using Emulator.Hardware;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Access = Emulator.Hardware.Memory.Access;

namespace Emulator.Tests.Memory;

/// <summary>A platform with page tables that a test builds entry by entry.</summary>
internal sealed unsafe class GuestTables : IDisposable
{
    private ulong _nextFrame = 1;

    public GuestTables(int vcpus = 1, TlbGeometry? geometry = null, ulong bytes = 1UL << 32)
    {
        Platform = new Platform(new PhysicalMemory(bytes), vcpus, geometry ?? TlbGeometry.Default);
        Root = NewFrame();
        foreach (var vcpu in Platform.Vcpus)
            Mmu.LoadCr3(vcpu.State, Root, 0, noFlush: false);
    }

    public Platform Platform { get; }
    public Pfn Root { get; }
    public Vcpu Vcpu => Platform.Vcpus[0];
    public VcpuState* State => Vcpu.State;

    public Pfn NewFrame() => new(_nextFrame++);

    /// <summary>The entry that translates an address at a level; tables above it are made where they are missing.</summary>
    public ulong* Slot(ulong address, int level = 0, Pfn? root = null)
    {
        var table = root ?? Root;
        for (int at = 3; ; at--)
        {
            var slot = (ulong*)Platform.Memory.Pointer(table) + (address >> (12 + 9 * at) & 511);
            if (at == level)
                return slot;
            if ((*slot & 1) == 0)
                *slot = NewFrame().Address | 7;
            table = new Pfn(*slot >> 12 & 0xFF_FFFF_FFFF);
        }
    }

    public void Map(ulong address, Pfn frame, Pte flags = Pte.Present | Pte.Writable | Pte.User, int level = 0, Pfn? root = null)
        => *Slot(address, level, root) = frame.Address | (ulong)flags | (level > 0 ? (ulong)Pte.PageSize : 0);

    /// <summary>A user access as the CPU makes it: front first, then the large one, then the slow path.</summary>
    /// <returns>The physical address, or null when it faults.</returns>
    public static ulong? Touch(VcpuState* c, ulong address, Access access)
    {
        if (access == Access.Execute)
            return Mmu.FetchTranslate(c, address, out var frame) ? frame.Address | (address & 0xFFF) : null;
        var entry = c->Front + (address >> 12 & (FrontEntry.Count - 1)) + (access == Access.Write ? FrontEntry.Count : 0);
        var host =
            entry->Tag == (address & ~0xFFFUL) || Mmu.FillFromLarge(c, address, 1, access == Access.Write) ? (byte*)(entry->Addend + (nint)address)
            : access == Access.Read ? Mmu.ReadSlow(c, address, 1)
            : Mmu.ModifySlow(c, address, 1);
        return host is null ? null : (ulong)(host - c->Tlb.Memory);
    }

    public void Dispose() => Platform.Dispose();
}

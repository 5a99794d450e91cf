using System.Globalization;
using System.Text;
using Emulator.Kernel.Shootdown;
using Emulator.Hardware.Smp;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files.Proc;

/// <summary>The texts of /proc that concern the whole machine.</summary>
internal sealed class SystemFiles(Machine machine)
{
    private static readonly CultureInfo Invariant = CultureInfo.InvariantCulture;

    public string CpuInfo(Task task)
    {
        var text = new StringBuilder();
        int count = machine.Options.Vcpus;
        for (int i = 0; i < count; i++)
        {
            text.Append(Invariant, $"processor\t: {i}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 0\nmodel name\t: Emulated x86-64\nstepping\t: 0\n");
            text.Append(Invariant, $"cpu MHz\t\t: 1000.000\ncache size\t: 0 KB\nphysical id\t: 0\nsiblings\t: {count}\ncore id\t\t: {i}\ncpu cores\t: {count}\n");
            text.Append("fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 13\nwp\t\t: yes\nflags\t\t: ");
            text.Append("fpu tsc msr pae cx8 sep cmov pat clflush mmx fxsr sse sse2 syscall nx rdtscp lm constant_tsc nopl pni ssse3 cx16 sse4_1 sse4_2 movbe popcnt lahf_lm abm bmi1 bmi2 adx\n");
            text.Append("bogomips\t: 2000.00\nclflush size\t: 64\ncache_alignment\t: 64\naddress sizes\t: 52 bits physical, 48 bits virtual\n\n");
        }
        return text.ToString();
    }

    public string MemInfo(Task task)
    {
        ulong total = machine.Memory.FrameCount * 4, free = machine.FreeMemoryBytes >> 10;
        Memory.MemorySystem memory = machine.MemorySystem;
        var census = Memory.MemoryCensus.Of(memory.Pages);
        Memory.HugeTlbPool pool = machine.MemorySystem.HugeTlb.Default;
        return string.Create(Invariant, $"""
            MemTotal:       {total,8} kB
            MemFree:        {free,8} kB
            MemAvailable:   {free + (ulong)(census.Files - census.Shmem) * 4,8} kB
            Buffers:               0 kB
            Cached:         {census.Files * 4,8} kB
            SwapCached:     {memory.Swap.CachedPages * 4,8} kB
            Active:                0 kB
            Inactive:       {(census.Files + census.Anonymous) * 4,8} kB
            SwapTotal:      {memory.Swap.TotalSlots * 4,8} kB
            SwapFree:       {memory.Swap.FreeSlots * 4,8} kB
            Dirty:          {census.Dirty * 4,8} kB
            Writeback:             0 kB
            AnonPages:      {census.Anonymous * 4,8} kB
            Mapped:         {census.Mapped * 4,8} kB
            Shmem:          {census.Shmem * 4,8} kB
            SReclaimable:          0 kB
            PageTables:     {machine.Pages.TableFrames * 4,8} kB
            CommitLimit:    {memory.Overcommit.Limit * 4,8} kB
            Committed_AS:   {Math.Max(0, memory.Overcommit.Committed) * 4,8} kB
            VmallocTotal:   34359738367 kB
            AnonHugePages:  {machine.MemorySystem.HugePages.Mapped * 2048,8} kB
            HugePages_Total:   {pool.Total,5}
            HugePages_Free:    {pool.Free,5}
            HugePages_Rsvd:    {pool.Reserved,5}
            HugePages_Surp:    {pool.Surplus,5}
            Hugepagesize:       2048 kB
            Hugetlb:        {pool.Total * 2048,8} kB

            """);
    }

    public string Stat(Task task)
    {
        long ticks = machine.Clock.MonotonicNs / 10_000_000;
        var text = new StringBuilder();
        text.Append(Invariant, $"cpu  0 0 0 {ticks * machine.Options.Vcpus} 0 0 0 0 0 0\n");
        for (int i = 0; i < machine.Options.Vcpus; i++)
            text.Append(Invariant, $"cpu{i} 0 0 0 {ticks} 0 0 0 0 0 0\n");
        long boot = machine.Clock.RealtimeOffsetNs / Clock.Second;
        text.Append(Invariant, $"intr 0\nctxt 0\nbtime {boot}\nprocesses {machine.Processes.Snapshot().Length}\nprocs_running 1\nprocs_blocked 0\n");
        return text.ToString();
    }

    /// <summary>The two rows that have a meaning here: a vCPU is interrupted for flushes, and to call functions (arch_show_interrupts).</summary>
    public unsafe string Interrupts(Task task)
    {
        var text = new StringBuilder("           ");
        foreach (Vcpu vcpu in machine.Platform.Vcpus)
            text.Append(Invariant, $"CPU{vcpu.Id,-8}");
        TlbShootdown shootdown = machine.MemorySystem.Shootdown;
        Row("CAL", "Function call interrupts", vcpu => Received(vcpu) - Math.Min(Received(vcpu), Flushes(vcpu)));
        Row("TLB", "TLB shootdowns", Flushes);
        return text.Append('\n').ToString();

        ulong Flushes(Vcpu vcpu) => shootdown.Count(ShootdownCounter.IpisReceived, vcpu.Id);
        ulong Received(Vcpu vcpu) => vcpu.State->Tlb.Counters[Counter.IpisReceived] + vcpu.State->Tlb.Counters[Counter.IpisServedIdle];
        void Row(string name, string help, Func<Vcpu, ulong> count)
        {
            text.Append(Invariant, $"\n{name}: ");
            foreach (Vcpu vcpu in machine.Platform.Vcpus)
                text.Append(Invariant, $"{count(vcpu),10} ");
            text.Append(Invariant, $"  {help}");
        }
    }

    public string Uptime(Task task)
    {
        double seconds = machine.Clock.MonotonicNs / 1e9;
        return string.Create(Invariant, $"{seconds:F2} 0.00\n");
    }

    public string LoadAverage(Task task)
    {
        int tasks = machine.Processes.TaskCount;
        return string.Create(Invariant, $"0.00 0.00 0.00 1/{tasks} {task.Tid}\n");
    }

    public string Version(Task task) => $"{Machine.SystemName} version {machine.Release} (emulator@emulator) {Machine.Version}\n";

    public string VmStat(Task task)
    {
        Memory.MemorySystem memory = machine.MemorySystem;
        var census = Memory.MemoryCensus.Of(memory.Pages);
        var text = new StringBuilder();
        text.Append(Invariant, $"nr_free_pages {memory.Pages.FreeFrames}\nnr_anon_pages {census.Anonymous}\nnr_mapped {census.Mapped}\nnr_file_pages {census.Files}\n");
        text.Append(Invariant, $"nr_dirty {census.Dirty}\nnr_shmem {census.Shmem}\nnr_anon_transparent_hugepages {memory.HugePages.Mapped}\n");
        text.Append(Invariant, $"nr_page_table_pages {memory.Pages.TableFrames}\nnr_swapcached {memory.Swap.CachedPages}\n");
        foreach (Memory.VmEventInfo info in Memory.VmEvents.All)
            text.Append(Invariant, $"{info.Name} {memory.Events[info.Event]}\n");
        return text.ToString();
    }

    public string Swaps(Task task)
    {
        Memory.SwapArea swap = machine.MemorySystem.Swap;
        const string header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        return swap.TotalSlots == 0
            ? header
            : header + string.Create(Invariant, $"/dev/memory                             partition\t{swap.TotalSlots * 4}\t\t{swap.UsedSlots * 4}\t\t-2\n");
    }
}

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
        Memory.HugeTlbPool pool = machine.MemorySystem.HugeTlb.Default;
        return string.Create(Invariant, $"""
            MemTotal:       {total,8} kB
            MemFree:        {free,8} kB
            MemAvailable:   {free,8} kB
            Buffers:               0 kB
            Cached:                0 kB
            SwapCached:            0 kB
            Active:                0 kB
            Inactive:              0 kB
            SwapTotal:             0 kB
            SwapFree:              0 kB
            Dirty:                 0 kB
            Writeback:             0 kB
            AnonPages:      {total - free,8} kB
            Mapped:                0 kB
            Shmem:                 0 kB
            SReclaimable:          0 kB
            PageTables:     {machine.Pages.TableFrames * 4,8} kB
            CommitLimit:    {total,8} kB
            Committed_AS:   {total - free,8} kB
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

    public string VmStat(Task task) => string.Create(Invariant, $"nr_free_pages {machine.Pages.FreeFrames}\nnr_page_table_pages {machine.Pages.TableFrames}\n");
}

using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Tests.Notifiers;
using Examples;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Memory.MmanAbi;
using AddressSpace = Emulator.Kernel.Memory.Mm;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mirrors;

/// <summary>Changes of shared tables are told to the secondary MMUs of everybody who shares them.</summary>
public sealed class SharerNotifierTests
{
    private const ulong Base = 4 * MshareRegion.Unit, Elsewhere = 8 * MshareRegion.Unit, Page = 4096;
    private const int ReadWrite = PROT_READ | PROT_WRITE, Anonymous = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;

    /// <summary>A region of 16 pages that are there.</summary>
    private sealed class Region : IDisposable
    {
        private readonly Task _creator;

        public Region(Task task)
        {
            _creator = task;
            Host = AddressSpace.CreateHost(task.Machine.MemorySystem, leaky: false)!;
            var region = new MshareRegion(Host.Sharing!, MshareVariant.Corrected);
            Assert.That(region.SetSize(new MshareInfo(Base, 2 * MshareRegion.Unit)), Is.Zero);
            File = new MshareFile(region, O_RDWR);
            Assert.That(Host.Mmap(task, Base, 16 * Page, ReadWrite, Anonymous | MAP_POPULATE, null, 0), Is.EqualTo((long)Base));
        }

        public AddressSpace Host { get; }

        public MshareFile File { get; }

        public void Map(Task task, ulong address, ulong part = 0) =>
            Assert.That(task.Mm.Mmap(task, address, MshareRegion.Unit, ReadWrite, MAP_SHARED | MAP_FIXED, File, part >> 12), Is.EqualTo((long)address));

        public void Replace(Task task, ulong page)
        {
            Assert.That(Host.Munmap(task, Base + page * Page, Page), Is.Zero);
            Assert.That(Host.Mmap(task, Base + page * Page, Page, ReadWrite, Anonymous, null, 0), Is.EqualTo((long)(Base + page * Page)));
        }

        public void Dispose()
        {
            File.Put();
            Host.Put(_creator);
        }
    }

    private static Machine New(bool deterministic = false, ulong seed = 0) =>
        new(new MachineOptions { Vcpus = 2, LockDep = true, Check = true, MemoryBytes = 64 << 20, Deterministic = deterministic, Seed = seed, Timeout = TimeSpan.FromSeconds(60) });

    [Test]
    public void A_sharer_hears_of_a_change_at_its_own_addresses_nested_in_the_hosts()
    {
        using Machine machine = New();
        machine.Run(task =>
        {
            using var region = new Region(task);
            region.Map(task, Elsewhere, Base);
            var seen = new List<string>();
            Probe Listen(string who, ulong start) => new()
            {
                Start = (_, r) => Note($"{who} start {r.Event} {(r.Start - start) / Page}-{(r.End - start) / Page}"),
                End = (_, r) => Note($"{who} end {r.Event} {(r.Start - start) / Page}-{(r.End - start) / Page}"),
            };
            int Note(string text)
            {
                seen.Add(text);
                return 0;
            }
            Probe host = Listen("host", Base), sharer = Listen("sharer", Elsewhere);
            Assert.That(host.Register(task, region.Host), Is.Zero);
            Assert.That(sharer.Register(task, task.Mm), Is.Zero);
            region.Host.Munmap(task, Base + 3 * Page, 2 * Page);
            string[] nested = ["host start Unmap 3-5", "sharer start Unmap 3-5", "host end Unmap 3-5", "sharer end Unmap 3-5"];
            Assert.That(seen, Is.EqualTo(nested));
            seen.Clear();
            region.Host.Mprotect(task, Base + 8 * Page, Page, PROT_READ);
            Assert.That(seen.Where(static s => s.StartsWith("sharer", StringComparison.Ordinal)).ToArray(), Has.Length.EqualTo(2));
            sharer.Unregister(task);
            host.Unregister(task);
            task.Mm.Munmap(task, Elsewhere, MshareRegion.Unit);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void A_device_that_walks_a_sharers_tables_forgets_what_others_replace([Values] bool deterministic)
    {
        using Machine machine = New(deterministic, seed: 3);
        machine.Run(task =>
        {
            using var region = new Region(task);
            region.Map(task, Base);
            region.Map(task, Elsewhere, Base);
            var device = new Walker(machine);
            Assert.That(device.Register(task, task.Mm), Is.Zero);
            task.TryWrite(Base + Page, (byte)5);
            task.TryRead(Elsewhere, out byte _);
            Assert.That(device.TryRead(task.Mm, Base + Page, out byte seen) ? seen : -1, Is.EqualTo(5));
            Assert.That(device.TryRead(task.Mm, Elsewhere + Page, out seen) ? seen : -1, Is.EqualTo(5));
            machine.Spawn(other =>
            {
                region.Replace(other, 1);
                region.Map(other, Base);
                other.TryWrite(Base + Page, (byte)6);
                other.Mm.Munmap(other, Base, MshareRegion.Unit);
            }).Join(task);
            Assert.That(device.TryRead(task.Mm, Base + Page, out seen) ? seen : -1, Is.EqualTo(6));
            Assert.That(device.TryRead(task.Mm, Elsewhere + Page, out seen) ? seen : -1, Is.EqualTo(6));
            // Its own container goes: so do the device's translations.
            task.Mm.Munmap(task, Elsewhere, MshareRegion.Unit);
            Assert.That(device.TryRead(task.Mm, Elsewhere + Page, out _), Is.False);
            device.Unregister(task);
            task.Mm.Munmap(task, Base, MshareRegion.Unit);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void Nobody_hears_an_end_without_its_start_who_comes_and_goes_during_changes([Range(1, 8)] int seed)
    {
        using Machine machine = New(deterministic: true, (ulong)seed);
        bool wrong = false;
        machine.Run(task =>
        {
            using var region = new Region(task);
            bool done = false;
            KernelThread changer = machine.Spawn(other =>
            {
                for (int i = 0; i < 60; i++)
                    region.Replace(other, (ulong)i % 16);
                done = true;
            });
            KernelThread[] sharers = [.. Enumerable.Range(0, 2).Select(_ => machine.Spawn(other =>
            {
                while (!done)
                {
                    int open = 0;
                    var probe = new Probe
                    {
                        Start = (_, _) => Interlocked.Increment(ref open) * 0,
                        End = (_, _) => wrong |= Interlocked.Decrement(ref open) < 0,
                    };
                    probe.Register(other, other.Mm);
                    region.Map(other, Base);
                    other.TryRead(Base + 2 * Page, out byte _);
                    other.Mm.Munmap(other, Base, MshareRegion.Unit);
                    wrong |= open != 0;
                    region.Map(other, Base);
                    probe.Unregister(other);
                    other.Mm.Munmap(other, Base, MshareRegion.Unit);
                }
            }))];
            changer.Join(task);
            foreach (KernelThread sharer in sharers)
                sharer.Join(task);
        });
        Assert.That(wrong, Is.False);
        Assert.That(machine.Violations.All, Is.Empty);
    }
}

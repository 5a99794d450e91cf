using System.Globalization;
using System.Text.Json;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Mshare;

/// <summary>What a region saves and costs, in exact counts: page tables, faults of those who attach, interrupts of a hole.</summary>
internal sealed class FiguresTests
{
    /// <summary>Tables of a process of these guests: its root and seven below.</summary>
    private const int OwnTables = 8;

    /// <summary>Tables of the server, and of the kernel's half of address spaces, before anybody comes.</summary>
    private const int FirstTables = 12;

    /// <summary>Tables that a region needs: its leaves, one directory for each GiB, what is above, and the root of the host.</summary>
    private static int RegionTables(int mib) => mib / 2 + (mib + 1023) / 1024 + 1 + 1;

    /// <summary>Tables that one mapping of a file needs in each process: its leaves; the rest it shares with what is mapped beside it.</summary>
    private static int MappingTables(int mib) => mib / 2;

    private static Outcome Clients(string way, int clients, int mib, params string[] options) => EmulatedHost.Command(
        GuestPrograms.Guest("mshare/clients", way, clients.ToString(CultureInfo.InvariantCulture), mib.ToString(CultureInfo.InvariantCulture)), options);

    private static string Line(int clients, int kilobytes, int each) => $"{clients} clients: {kilobytes} kB of page tables, {each} kB for each\n";

    [TestCase(1, 16), TestCase(10, 16), TestCase(100, 16), TestCase(10, 256), TestCase(2000, 64)]
    public void Clients_of_a_region_add_no_tables_but_those_of_their_own_program(int clients, int mib)
    {
        Outcome outcome = Clients("mshare", clients, mib, "--vcpus", "2");
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Output, Does.Contain(Line(clients, 4 * (FirstTables + RegionTables(mib) + OwnTables * clients), 4 * OwnTables)));
        Assert.That(outcome.Output, Does.Contain("faults of a client to reach all of it: 1 the first, then 1 to 1\n"));
    }

    [TestCase(1, 16), TestCase(10, 16), TestCase(40, 256)]
    public void Clients_of_a_shared_mapping_each_have_tables_for_all_of_it(int clients, int mib)
    {
        Outcome outcome = Clients("shared", clients, mib, "--vcpus", "2");
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        int each = 4 * (OwnTables + MappingTables(mib));
        Assert.That(outcome.Output, Does.Contain(Line(clients, 4 * FirstTables + each * clients, each)));
    }

    /// <summary>The letter's server at a thousandth of its size: 300 MiB for 1,500 clients on 512 MiB.</summary>
    [Test]
    public void A_server_that_dies_of_its_clients_page_tables_has_room_for_all_of_them_with_a_region()
    {
        Outcome shared = Clients("shared", 1500, 300, "--memory", "512M", "--vcpus", "2", "-q"), mshare = Clients("mshare", 1500, 300, "--memory", "512M", "--vcpus", "2");
        Assert.That((shared.Status, mshare.Status), Is.EqualTo((3, 0)), $"{shared}\n{mshare}");
        Assert.That(shared.Output, Does.Match(@"out of memory when 3[0-9][0-9] clients had come: 2\d\d\d\d\d kB"));
        Assert.That(mshare.Output, Does.Contain(Line(1500, 4 * (FirstTables + RegionTables(300) + OwnTables * 1500), 4 * OwnTables)));
    }

    [Test]
    public void The_cost_of_attaching_does_not_depend_on_who_has_attached_before()
    {
        string first = AttachCost(1);
        Assert.That(first, Does.StartWith("4 calls, 1 faults, "));
        Assert.That((AttachCost(10), AttachCost(500)), Is.EqualTo((first, first)));
    }

    /// <summary>Of the last client: to open the file, map it, close it, and read all over the region.</summary>
    private static string AttachCost(int clients)
    {
        string file = Path.Combine(Path.GetTempPath(), $"attach-{Guid.NewGuid():N}.json");
        try
        {
            Outcome outcome = Clients("mshare", clients, 16, "--sched", "deterministic", "--stats=json", "-o", file);
            Assert.That(outcome.Status, Is.Zero, outcome.ToString());
            using var json = JsonDocument.Parse(File.ReadAllText(file));
            JsonElement measured = json.RootElement.GetProperty("measured");
            ulong Of(string name) => measured.GetProperty(name).GetUInt64();
            return $"{Of("kernel.syscalls")} calls, {Of("vm.pgfault")} faults, {Of("cpu.instructions")} instructions, {Of("tlb.walk_references")} references, {Of("cycles.total")} cycles";
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public void Sleeping_sharers_cost_a_hole_next_to_no_interrupts_with_policies_that_know_who_runs()
    {
        const int vcpus = 4;
        string[] policies = [.. SharedFlushPolicies.All.Where(p => p.IsSound).Select(p => p.Name)];
        string[] command = EmulatedHost.CommandLine("compare", "--csv", "--vcpus", "4", "--flush", string.Join(',', policies), "--sweep", "sharers=1,8,64",
            GuestPrograms.Guest("mshare/punch").Program, "{sharers}", "4", "4", "8", "idle");
        Outcome outcome = NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]);
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        string[][] rows = [.. outcome.Output.TrimEnd().Split('\n').Skip(1).Select(line => line.Split(','))];
        Assert.That(rows, Has.Length.EqualTo(3 * policies.Length));
        foreach (string[] row in rows)
        {
            int most = row[0] switch
            {
                "flush-all" or "notifier-flush-all" or "host-cpumask" => 4 * (vcpus - 1),
                "range-unlink" => 2 * 4 * (vcpus - 1),
                // Somebody may still be on the way to sleep.
                _ => 2,
            };
            Assert.That(int.Parse(row[5], CultureInfo.InvariantCulture), Is.LessThanOrEqualTo(most), string.Join(' ', row));
        }
    }
}

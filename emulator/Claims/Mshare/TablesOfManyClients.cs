using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 31, at 1 : 1024: clients map 300 MiB, and what their tables take is multiplied.</summary>
internal sealed class TablesOfManyClients : Claim
{
    private const ulong Bytes = 300 << 20, Scale = 1024, Clients = 1500;

    public override string Number => "31";

    public override string Name => "tables-of-1500-clients";

    public override string Text => "1,500 clients that map all of a buffer of 300 GB need more than 878 GB for their page tables";

    public override string Source => "cover letter of mshare RFC v3";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "in binary units: 878.9 GiB of last-level tables; the upper levels add 1.7 GiB. Shared, they are 600 MiB in all";

    protected override Verdict Try(Evidence evidence)
    {
        double leaves = 0;
        evidence.Stage("two clients with tables of their own", 2, stage =>
        {
            OpenFile file = stage.Machine.CreateMemoryFile(stage.Task, Bytes);
            ulong[] each = [Populate(stage.Enter("first", 0), file), Populate(stage.Enter("second", 1), file)];
            file.Put();
            Require(each[0] == each[1], "the second client pays something else than the first");
            ulong full = each[1] * Scale;
            leaves = (double)(full * Clients) / (1UL << 30);
            stage.Evidence.Add($"for 300 MiB each client has {each[1] >> 10} KiB of last-level tables: for 300 GiB {full >> 20} MiB");
            stage.Evidence.Add($"{Clients:N0} clients: {leaves:F1} GiB, or {leaves * 1.073741824:F1} GB");
        });
        evidence.Stage("two clients that share a region", 2, stage =>
        {
            Actor first = stage.Enter("first", 0), second = stage.Enter("second", 1);
            Region region = Region.Make(first, 0);
            Require(region.CreateMapping(first, Region.Start, Bytes) == 0, "the buffer cannot be mapped");
            region.Open(second); // Passing the name takes tables, too.
            long before = second.Mm.TableBytes;
            region.Attach(second);
            first.Do(static task => Require(task.Mm.Madvise(task, Region.Start, Bytes, MADV_POPULATE_READ) == 0, "not all pages can be mapped"));
            Require(second.Read(Region.Start + Bytes - 4096).Finding == Finding.Coherent, "the second client does not see the last page");
            ulong shared = (ulong)region.Host(first).TableBytes;
            stage.Evidence.Add($"the region has {shared >> 10} KiB of tables in all; attaching and reading cost the second client {second.Mm.TableBytes - before} bytes of tables of its own: one entry");
            Require(shared < Bytes / 400 && second.Mm.TableBytes == before, "the tables are not shared");
        });
        return Judge(leaves is >= 878 and < 880);
    }

    /// <summary>Maps and reads all of the file.</summary>
    /// <returns>Bytes of last-level tables.</returns>
    private static ulong Populate(Actor client, OpenFile file) => client.Ask(task =>
    {
        const ulong at = 0x200_0000_0000;
        Require(task.Mm.Mmap(task, at, Bytes, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) == (long)at, "the buffer cannot be mapped");
        Require(task.Mm.Madvise(task, at, 4096, MADV_POPULATE_READ) == 0, "no page can be mapped");
        long upper = task.Mm.TableBytes - 4096;
        Require(task.Mm.Madvise(task, at, Bytes, MADV_POPULATE_READ) == 0, "not all pages can be mapped");
        return (ulong)(task.Mm.TableBytes - upper);
    });
}

using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Checker;

/// <summary>Shared tables: each link is in a container, names what the host has there, gives no more than the container, and is counted.</summary>
internal sealed unsafe partial class MmChecker
{
    private readonly Dictionary<ulong, int> _links = [];

    private void CheckLinks(Mm mm)
    {
        for (ulong at = 0; at < Layout.TaskSize; at += Mm.TopSize)
        {
            ulong entry = mm.Tables.TopEntry(at);
            if (!PageTables.IsLink(entry))
                continue;
            Pfn table = PageTables.FrameOf(entry);
            _links[table.Value] = _links.GetValueOrDefault(table.Value) + 1;
            if (mm.Vmas.Find(at) is not { Shares: { } tables } container)
            {
                Report($"{mm.Context.Id}:{at:x} links {table} outside of any container");
                continue;
            }
            ulong host = tables.Host.Tables.TopEntry(container.IndexOf(at) << Pfn.Shift);
            if (PageTables.FrameOf(host) != table)
                Report($"{mm.Context.Id}:{at:x} links {table}, its host has {PageTables.FrameOf(host)}");
            bool writable = (entry & (ulong)Pte.Writable) != 0, executable = (entry & (ulong)Pte.NoExecute) == 0;
            if ((writable && (container.Flags & VmFlags.Write) == 0) || (executable && (container.Flags & VmFlags.Exec) == 0))
                Report($"{mm.Context.Id}:{at:x} gives more than its container {container}");
        }
    }
}

using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>Judges what one vCPU caches and uses. All but <see cref="Flushes"/> belongs to the thread that runs the vCPU.</summary>
/// <remarks>
/// A stamp is the low bits of the frame's generation. A frame that was freed just 2048 times between is taken for the old one.
/// In bounds: what it keeps is limited, the oldest makes room, and the vCPU's state lives as long as the vCPU.
/// </remarks>
internal sealed unsafe class VcpuWitness(CoherenceChecker checker, Vcpu vcpu) : TranslationWitness
{
    /// <summary>More translations than a TLB has: those that are gone make room.</summary>
    private const int MostFills = 1 << 15;

    /// <summary>Uses that were judged lately: nothing of it changes before another flush is done.</summary>
    private const int JudgedUses = 512;

    private readonly PageAllocator _pages = checker.System.Pages;
    private readonly Dictionary<ulong, FillRecord> _fills = [];
    private readonly (ulong Use, long Completions)[] _judged = new (ulong, long)[JudgedUses];

    /// <summary>The age of the cached table that the walk under way began with; no limit if it began at the root.</summary>
    private long _origin = long.MaxValue;

    public VcpuFlushes Flushes { get; } = new(checker.Clock);

    private uint Stamp(Pfn frame) => _pages[frame].Generation & ((1u << StampBits) - 1);

    private Task? Task => vcpu.Occupant as Task;

    public override uint OnFill(in CachedTranslation filled)
    {
        if (_fills.Count >= MostFills)
            ForgetLost();
        Task? task = Task;
        long now = checker.Clock.Now;
        _fills[FillRecord.KeyOf(filled)] = new FillRecord(now, Math.Min(now, _origin), _origin < now, checker.System.Shootdown.NowNs(),
            task?.Comm, task?.Tid ?? 0, vcpu.State->Registers.Rip);
        return Stamp(filled.Frame);
    }

    /// <summary>Keeps what is known of translations that are still cached.</summary>
    private void ForgetLost()
    {
        var cached = new List<CachedTranslation>();
        CachedTranslation.CopyAll(vcpu.State, cached);
        var kept = new Dictionary<ulong, FillRecord>();
        foreach (CachedTranslation one in cached)
        {
            ulong key = FillRecord.KeyOf(one);
            if (_fills.TryGetValue(key, out FillRecord fill))
                kept[key] = fill;
        }
        _fills.Clear();
        foreach ((ulong key, FillRecord fill) in kept)
            _fills[key] = fill;
    }

    public override void OnFlush(ulong? address, ulong? context) => Flushes.Dropped(address, context);

    public override void OnUse(ulong address, Access access, in CachedTranslation cached, uint stamp)
    {
        if (Stamp(cached.Frame) != stamp || (_pages[cached.FrameOf(address)].Flags & PageFlags.Free) != 0)
        {
            Report(CheckerRules.FreedFrame, address, cached, $"{Verb(access)} 0x{address:x} through a translation to a frame that was freed since");
            return;
        }
        ulong key = FillRecord.KeyOf(cached), use = key ^ ((ulong)access << 61);
        ref (ulong Use, long Completions) judged = ref _judged[(int)((use >> 16) ^ use) & (JudgedUses - 1)];
        long completions = checker.Flushes.Completions;
        if (judged.Use == use && judged.Completions == completions)
            return;
        if (!IsStale(address, access, key, cached))
            judged = (use, completions);
    }

    /// <summary>Judges a use by the tables and by the flushes since; reports it when it is stale.</summary>
    private bool IsStale(ulong address, Access access, ulong key, in CachedTranslation cached)
    {
        // Global translations are the kernel's own, which do not change.
        if (cached.Global)
            return false;
        ref FillRecord fill = ref CollectionsMarshal.GetValueRefOrNullRef(_fills, key);
        if (System.Runtime.CompilerServices.Unsafe.IsNullRef(ref fill))
            return false;
        var root = new Pfn(vcpu.State->Tlb.Cr3 >> Pfn.Shift);
        long now = checker.Clock.Now;
        if (LiveTables.Agree(_pages.Memory, root, cached, LiveTables.AllRights, out _))
        {
            fill.AsOf = now;
            return false;
        }
        if (LiveTables.Agree(_pages.Memory, root, cached, RightsFor(access), out ulong entry)
            || Context is not { } context
            || !checker.Flushes.Since(fill.AsOf, context, address, ShiftOf(fill, cached)).Exists(static f => f.Completed != 0))
        {
            return false;
        }
        Report(CheckerRules.Stale, address, cached,
            $"{Verb(access)} 0x{address:x} as frame 0x{cached.FrameOf(address).Value:x} ({cached.Rights}), where the tables have {Describe(entry)} by now");
        return true;
    }

    private static Pte RightsFor(Access access) => access switch
    {
        Access.Write => Pte.User | Pte.Writable | Pte.Dirty,
        Access.Execute => Pte.User | Pte.NoExecute,
        _ => Pte.User,
    };

    private static int ShiftOf(in FillRecord fill, in CachedTranslation cached) => fill.ViaTable || cached.IsTable ? 63 : PageTable.Shift(cached.Level);

    private ulong? Context => checker.System.Shootdown.StateOf(vcpu.Id).LoadedMm?.Context.Id;

    public override void OnWalk(ulong address, int level, Pfn table, uint? stamp)
    {
        ulong key = FillRecord.KeyOf(address, vcpu.State->Tlb.Context, level + 1, isTable: true);
        if (stamp is not null)
            _origin = _fills.TryGetValue(key, out FillRecord fill) ? fill.AsOf : long.MaxValue;
        else if (level == PageTable.RootLevel)
            _origin = long.MaxValue;
        bool isTable = (_pages[table].Flags & (PageFlags.Table | PageFlags.Free)) == PageFlags.Table;
        if (isTable && (stamp is null || stamp == Stamp(table)))
            return;
        string cached = stamp is null ? "" : ", which the paging-structure cache still knows";
        ulong span = 1UL << PageTable.Shift(Math.Min(level + 1, PageTable.RootLevel));
        Report(CheckerRules.FreedTable, address,
            new CachedTranslation(vcpu.State->Tlb.Context, address & ~(span - 1), level + 1, IsTable: true, table, Pte.None, Global: false),
            $"translates 0x{address:x} by a table of level {level}{cached}, after the table was freed");
    }

    private static string Verb(Access access) => access switch { Access.Write => "writes", Access.Execute => "executes", _ => "reads" };

    private static string Describe(ulong entry) => (entry & (ulong)Pte.Present) == 0
        ? entry == 0 ? "nothing" : string.Create(CultureInfo.InvariantCulture, $"the absent entry 0x{entry:x}")
        : string.Create(CultureInfo.InvariantCulture, $"frame 0x{PageTables.FrameOf(entry).Value:x} ({(Pte)entry & ~Pte.Frame})");

    private void Report(string rule, ulong address, in CachedTranslation cached, FormattableString what)
    {
        ref FillRecord fill = ref CollectionsMarshal.GetValueRefOrNullRef(_fills, FillRecord.KeyOf(cached));
        bool known = !System.Runtime.CompilerServices.Unsafe.IsNullRef(ref fill);
        if (known && fill.Reported)
            return;
        var text = new StringBuilder();
        if (known)
        {
            fill.Reported = true;
            text.Append("  #").Append(fill.ToString()).Append('\n');
            AppendFlushes(text, fill, cached, address);
        }
        Pfn frame = cached.FrameOf(address);
        text.Append(CultureInfo.InvariantCulture, $"  frame 0x{frame.Value:x}, oldest event first:\n{checker.History.Describe(frame)}");
        bool inGuest = vcpu.IsExecuting;
        string who = string.Create(CultureInfo.InvariantCulture,
            $"#{checker.Clock.Now} (time {checker.System.Shootdown.NowNs()} ns): vCPU {vcpu.Id}{(Task is { } task ? $" ({task}{(inGuest ? "" : ", in the kernel")})" : "")} {FormattableString.Invariant(what)}");
        checker.Found(new Finding(Task, rule, who, vcpu.State->Registers.Rip, text.ToString()), vcpu, inGuest);
    }

    private void AppendFlushes(StringBuilder text, in FillRecord fill, in CachedTranslation cached, ulong address)
    {
        const int most = 6;
        List<FlushRecord> flushes = Context is { } context ? checker.Flushes.Since(fill.AsOf, context, address, ShiftOf(fill, cached)) : [];
        text.Append(flushes.Count == 0 ? "  no flush since covers it\n" : "  flushes since that cover it, oldest first:\n");
        foreach (FlushRecord flush in flushes.Take(most))
        {
            text.Append("  ");
            flush.AppendTo(text);
            bool any = false;
            foreach ((int id, string did) in checker.Served(flush.Number, flush.Completed == 0 ? checker.Clock.Now : flush.Completed))
            {
                text.Append(CultureInfo.InvariantCulture, $"\n    vCPU {id}: {did}");
                any = true;
            }
            text.Append(any ? "\n" : "\n    no vCPU was asked\n");
        }
        if (flushes.Count > most)
            text.Append(CultureInfo.InvariantCulture, $"  and {flushes.Count - most} more\n");
    }
}

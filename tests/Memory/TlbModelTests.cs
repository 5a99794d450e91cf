using System.Globalization;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using FsCheck;
using FsCheck.Fluent;
using Access = Emulator.Hardware.Memory.Access;

namespace Emulator.Tests.Memory;

/// <summary>Random accesses, changes of the tables and flushes, on the native TLB and on its naive twin.</summary>
internal sealed unsafe class TlbModelTests
{
    private const int Pcids = 3, Pages = 24, SmallPages = 18, LargePlaces = 3;

    /// <summary>One step, decoded from two numbers so that FsCheck can shrink it.</summary>
    private readonly record struct Step(int What, int Detail)
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"({What},{Detail})");
    }

    [TestCase("4x2,8x2")]
    [TestCase("2x1,4x4")]
    [TestCase("8x8,16x2")]
    [TestCase("64x4,1536x12")]
    public void Translations_counters_and_the_front_agree_with_the_model(string geometry)
    {
        var steps = (from what in Gen.Choose(0, 19) from detail in Gen.Choose(0, 999) select new Step(what, detail)).ListOf().Resize(400);
        Prop.ForAll(steps.ToArbitrary(), list => Agree(geometry, list))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(150).WithEndSize(400).WithReplay(20260101, 7));
    }

    private static bool Agree(string text, IEnumerable<Step> steps)
    {
        if (!TlbGeometry.TryParse(text, out var geometry, out string error))
            throw new ArgumentException(error, nameof(text));
        using var guest = new GuestTables(geometry: geometry);
        var second = geometry.Level2!.Value;
        var model = new TlbModel(geometry.Level1.Sets, geometry.Level1.Ways, geometry.Level1Large.Sets, second.Sets, second.Ways);
        var run = new Run(guest, model);
        foreach (var step in steps)
        {
            string? wrong = run.Do(step) ?? run.Compare();
            if (wrong is not null)
                throw new InvalidOperationException($"step {step}: {wrong}");
        }
        return true;
    }

    private sealed class Run
    {
        private readonly GuestTables _guest;
        private readonly TlbModel _model;
        private readonly VcpuState* _c;
        private readonly Pfn[] _roots = new Pfn[Pcids];

        public Run(GuestTables guest, TlbModel model)
        {
            (_guest, _model) = (guest, model);
            _c = guest.State;
            for (int i = 0; i < Pcids; i++)
            {
                _roots[i] = i == 0 ? guest.Root : guest.NewFrame();
                for (int page = 0; page < Pages; page++)
                    Map(page, i, 100 + page * 10 + i);
            }
            Mmu.LoadCr3(_c, _roots[0], 0, noFlush: false);
        }

        /// <summary>
        /// Small pages lie in neighbouring sets and a few of them in equal ones; the last pages are large, and two each share a place in the large front.
        /// </summary>
        private static ulong AddressOf(int page) => page < SmallPages ? 0x40_0000UL + (ulong)page * 0x3000
            : 0x8000_0000UL + ((ulong)(page - SmallPages) % LargePlaces + (ulong)(page - SmallPages) / LargePlaces * FrontEntry.LargeCount) * 0x20_0000;

        private static bool IsLarge(int page) => page >= SmallPages;

        private static bool IsGlobal(int page) => page % 6 == 5;

        private void Map(int page, int pcid, int frame)
        {
            var flags = Pte.Present | Pte.User | (frame % 3 == 0 ? Pte.None : Pte.Writable) | (IsGlobal(page) ? Pte.Global : Pte.None);
            _guest.Map(AddressOf(page), new Pfn((ulong)frame << (IsLarge(page) ? 9 : 0)), flags, IsLarge(page) ? 1 : 0, _roots[pcid]);
        }

        private TlbModel.Entry? Tables(ulong address, int page, bool write)
        {
            ulong pte = *_guest.Slot(address, IsLarge(page) ? 1 : 0, _roots[_model.Context]);
            if ((pte & 1) == 0)
                return null;
            int sizeClass = IsLarge(page) ? 1 : 0;
            bool writable = (pte & 2) != 0;
            return new TlbModel.Entry(address >> (12 + 9 * sizeClass), sizeClass, _model.Context, (pte & 0x100) != 0,
                pte >> 12 & 0xFF_FFFF_FFFF, writable, (pte & 0x40) != 0 || (write && writable));
        }

        public string? Do(Step step)
        {
            int page = step.Detail % Pages;
            int pcid = step.Detail / Pages % Pcids;
            ulong address = AddressOf(page) + (IsLarge(page) ? (ulong)(step.Detail % 5) << 12 : 0);
            switch (step.What)
            {
                case <= 11:
                    bool write = step.What >= 7;
                    ulong? expected = _model.Access(address, write, () => Tables(address, page, write));
                    ulong? actual = GuestTables.Touch(_c, address, write ? Access.Write : Access.Read) >> 12;
                    return expected == actual ? null : $"{(write ? "write" : "read")} of {address:x}: expected frame {expected:x}, got {actual:x}";
                case 12:
                    Map(page, pcid, 100 + step.Detail);
                    break;
                case 13:
                    *_guest.Slot(address, IsLarge(page) ? 1 : 0, _roots[pcid]) = 0;
                    break;
                case 14:
                    Mmu.InvalidatePage(_c, address);
                    _model.RemovePage(address, _model.Context, global: true);
                    break;
                case 15:
                    Mmu.InvalidatePcid(_c, InvpcidType.IndividualAddress, (ushort)pcid, address);
                    _model.RemovePage(address, pcid, global: false);
                    break;
                case 16 or 17:
                    bool noFlush = step.What == 17;
                    Mmu.LoadCr3(_c, _roots[pcid], (ushort)pcid, noFlush);
                    _model.Context = pcid;
                    if (!noFlush)
                        _model.Remove(e => !e.Global && e.Context == pcid);
                    break;
                case 18:
                    Mmu.InvalidatePcid(_c, InvpcidType.SingleContext, (ushort)pcid, 0);
                    _model.Remove(e => !e.Global && e.Context == pcid);
                    break;
                default:
                    bool globals = step.Detail % 2 == 0;
                    Mmu.FlushAll(_c, globals);
                    _model.Remove(e => globals || !e.Global);
                    break;
            }
            return null;
        }

        public string? Compare()
        {
            (Counter, int)[] counts =
            [
                (Counter.Level1Misses, _model.Misses1), (Counter.Level2Misses, _model.Misses2), (Counter.Walks, _model.Walks),
                (Counter.Level1Evictions, _model.Evictions1), (Counter.Level2Evictions, _model.Evictions2),
            ];
            foreach (var (counter, expected) in counts)
            {
                if (_c->Tlb.Counters[counter] != (ulong)expected)
                    return $"{counter}: expected {expected}, is {_c->Tlb.Counters[counter]}";
            }
            for (int i = 0; i < FrontEntry.Total; i++)
            {
                bool large = i >= FrontEntry.LargeStart, forStores = i >= (large ? FrontEntry.LargeStart + FrontEntry.LargeCount : FrontEntry.Count);
                if (_c->Front[i].Tag != FrontEntry.NoTag && !IsInFirstLevel(_c->Front[i], forStores, large))
                    return $"{(large ? "large " : "")}front entry for {_c->Front[i].Tag:x} has no first-level entry";
            }
            return null;
        }

        private bool IsInFirstLevel(FrontEntry front, bool forStores, bool large)
        {
            ulong frame = (ulong)((nint)front.Tag + front.Addend - (nint)_c->Tlb.Memory) >> 12;
            return _model.FirstLevel.Any(e => e.Page == front.Tag >> (12 + 9 * e.SizeClass) && (e.Global || e.Context == _model.Context) && (!large || e.SizeClass > 0)
                && e.Frame + (front.Tag >> 12 & ((1UL << (9 * e.SizeClass)) - 1)) == frame
                && (!forStores || (e.Writable && e.Dirty)));
        }
    }
}

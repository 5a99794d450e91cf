using System.Globalization;
using Emulator.Hardware.Memory;
using static Emulator.Tests.Memory.PagingOracle;

namespace Emulator.Tests.Memory;

/// <summary>All combinations of the bits that matter to a translation, against the oracle: fault, error code, accessed and dirty flags.</summary>
internal sealed unsafe class PageWalkSweepTests
{
    private const ulong Address = 0x1234_5678_9ABC;
    private static readonly int[] LevelBits = [P, RW, US, NX, A];

    /// <summary>Every bit of the mapping entry with every bit of one entry above it, all accesses, all control bits.</summary>
    [Test]
    public void Mapping_entry_and_one_entry_above_it([Values(0, 1, 2)] int leafLevel, [Values] bool wp, [Values] bool nxe)
    {
        using var sweep = new Sweep(leafLevel, wp, nxe);
        int leaf = 3 - leafLevel;
        foreach (ulong leafEntry in Variants([P, RW, US, NX, A, D], leaf, maps: true))
        {
            for (int above = 0; above < leaf; above++)
            {
                foreach (ulong aboveEntry in Variants(LevelBits, above, maps: false))
                {
                    sweep.Entries.AsSpan().Fill(Sweep.Permissive);
                    sweep.Entries[leaf] = leafEntry;
                    sweep.Entries[above] = aboveEntry;
                    sweep.CheckAllAccesses();
                }
            }
        }
    }

    /// <summary>Rights at all four levels at once.</summary>
    [Test]
    public void Rights_of_all_levels([Values(0, 1, 2)] int leafLevel, [Values] bool wp, [Values] bool nxe)
    {
        using var sweep = new Sweep(leafLevel, wp, nxe);
        int levels = 4 - leafLevel;
        for (int bits = 0; bits < 1 << (4 * levels); bits++)
        {
            for (int i = 0; i < levels; i++)
            {
                int of = bits >> (4 * i);
                sweep.Entries[i] = ((ulong)of & 7) | ((ulong)(of >> 3) & 1) << NX;
            }
            sweep.CheckAllAccesses();
        }
    }

    /// <summary>Every access after every other one has warmed the TLB.</summary>
    [Test]
    public void Every_pair_of_accesses([Values(0, 1, 2)] int leafLevel, [Values] bool wp, [Values] bool nxe)
    {
        using var sweep = new Sweep(leafLevel, wp, nxe);
        int leaf = 3 - leafLevel;
        foreach (ulong entry in Variants([P, RW, US, NX, A, D], leaf, maps: true))
        {
            sweep.Entries.AsSpan().Fill(Sweep.Permissive);
            sweep.Entries[leaf] = entry;
            for (int first = 0; first < 6; first++)
            {
                for (int second = 0; second < 6; second++)
                    sweep.CheckPair(first, second);
            }
        }
    }

    private static IEnumerable<ulong> Variants(int[] bits, int depth, bool maps)
    {
        ulong[] reserved = [0, 1UL << 46, 1UL << 51, depth == 0 ? 1UL << PS : 1UL << 62, maps && depth < 3 ? 1UL << 13 : 0, maps && depth == 1 ? 1UL << 29 : 0];
        foreach (ulong extra in reserved.Distinct())
        {
            for (int set = 0; set < 1 << bits.Length; set++)
            {
                ulong entry = extra;
                for (int i = 0; i < bits.Length; i++)
                    entry |= (ulong)(set >> i & 1) << bits[i];
                yield return entry;
            }
        }
    }

    private sealed class Sweep : IDisposable
    {
        public const ulong Permissive = 1UL << P | 1UL << RW | 1UL << US;
        private readonly GuestTables _guest = new(bytes: 1UL << 31);
        private readonly ulong*[] _slots;
        private readonly ulong[] _addresses;
        private readonly int _leafLevel;
        private readonly bool _wp, _nxe;
        private readonly ulong[] _entries;

        public Sweep(int leafLevel, bool wp, bool nxe)
        {
            (_leafLevel, _wp, _nxe) = (leafLevel, wp, nxe);
            Mmu.Configure(_guest.State, new PagingControls(46, wp, nxe));
            _slots = new ulong*[4 - leafLevel];
            _addresses = new ulong[4 - leafLevel];
            Entries = new ulong[4 - leafLevel];
            _entries = new ulong[4 - leafLevel];
            for (int i = 0; i < _slots.Length; i++)
            {
                _slots[i] = _guest.Slot(Address, 3 - i);
                _addresses[i] = i == _slots.Length - 1 ? 1UL << 30 : *_slots[i] & ~0xFFFUL;
                if (i == _slots.Length - 1)
                    continue;
                _guest.Slot(Address, 2 - i);
                _addresses[i] = *_slots[i] & ~0xFFFUL;
            }
        }

        /// <summary>Flags of the chain's entries, from the PML4E down.</summary>
        public ulong[] Entries { get; }

        public void CheckAllAccesses()
        {
            for (int access = 0; access < 6; access++)
                CheckPair(access, access);
        }

        /// <summary>One access with a cold TLB and another one after it; access = kind + 3 for the supervisor.</summary>
        public void CheckPair(int first, int second)
        {
            for (int i = 0; i < _slots.Length; i++)
            {
                _entries[i] = Entries[i] | _addresses[i] | (i == _slots.Length - 1 && _leafLevel > 0 ? 1UL << PS : 0);
                *_slots[i] = _entries[i];
            }
            Mmu.FlushAll(_guest.State, includingGlobals: true);
            CheckOne(first, "cold");
            CheckOne(second, "warm");
        }

        private void CheckOne(int access, string temperature)
        {
            int kind = access % 3;
            bool user = access < 3;
            var expected = Predict(_entries, kind, user, _wp, _nxe, 46);
            var c = _guest.State;
            c->Vector = -1;
            ulong physical;
            bool done;
            if (user)
            {
                var result = GuestTables.Touch(c, Address, (Access)kind);
                done = result is not null;
                physical = result ?? 0;
            }
            else
            {
                done = Mmu.Translate(c, Address, (Access)kind, user, out physical);
            }
            ulong offset = Address & ((1UL << (12 + 9 * _leafLevel)) - 1);
            bool right = done != expected.Faults
                && (done ? physical == (1UL << 30) + offset : c->Vector == 14 && c->ErrorCode == expected.Error && c->FaultAddress == Address);
            for (int i = 0; i < _slots.Length; i++)
                right &= *_slots[i] == expected.Entries[i];
            if (!right)
                Assert.Fail(Describe(access, temperature, expected, done));
            expected.Entries.CopyTo(_entries, 0);
        }

        private string Describe(int access, string temperature, Outcome expected, bool done)
        {
            string Words(ulong entry) => string.Join(' ', new[] { (P, "P"), (RW, "RW"), (US, "US"), (A, "A"), (D, "D"), (PS, "PS"), (NX, "NX") }
                .Where(b => (entry >> b.Item1 & 1) != 0).Select(b => b.Item2)) + " " + entry.ToString("x", CultureInfo.InvariantCulture);
            var lines = _entries.Select((e, i) => $"  before {Words(e)} | expected {Words(expected.Entries[i])} | is {Words(*_slots[i])}");
            return $"{temperature} {(access < 3 ? "user" : "supervisor")} {(Access)(access % 3)} WP={_wp} NXE={_nxe}: expected "
                + $"{(expected.Faults ? $"fault {expected.Error}" : "success")}, got {(done ? "success" : $"vector {_guest.State->Vector} error {_guest.State->ErrorCode}")}\n"
                + string.Join('\n', lines);
        }

        public void Dispose() => _guest.Dispose();
    }
}

using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Emulator.Hardware.Memory;

/// <summary>
/// A set-associative array of translations, in native memory: a level of the TLB or of the paging-structure cache. A fill takes a free
/// way of its set, or else displaces the ways in turn: replacement depends on fills and flushes only, so that a hit writes nothing.
/// </summary>
/// <remarks>
/// A tag is the page number (36 bits), the page-size class (2 bits), the context (13 bits: the PCID, or <see cref="GlobalContext"/>)
/// and a valid bit; 0 is a free way. A set's tags are padded to a whole number of vectors with ways that stay free for ever.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TlbArray
{
    private ulong* _tags;
    private ulong* _data;
    private ushort* _victims;
    private int _setMask;
    private int _ways;
    private int _stride;
    private int _live;
    private int _capacity;

    public const ulong GlobalContext = 1 << 12;
    private const int ClassShift = 36, ContextShift = 38;
    private const ulong Valid = 1UL << 51;
    private const ulong PageMask = (1UL << ClassShift) - 1;

    // In bounds: sets are masked with Sets - 1, a power of two; ways run to the stride, and victims to the ways, that Create laid out.
    internal static ulong BytesFor(TlbLevel level) => (ulong)(level.Sets * (2 * Stride(level.Ways) * sizeof(ulong) + sizeof(ushort)) + 63) & ~63UL;

    /// <summary>Lays the array out in zeroed, 64-byte aligned memory and moves <paramref name="memory"/> behind it.</summary>
    internal static TlbArray Create(TlbLevel level, ref byte* memory)
    {
        int slots = level.Sets * Stride(level.Ways);
        var array = new TlbArray { _setMask = level.Sets - 1, _ways = level.Ways, _stride = Stride(level.Ways), _capacity = level.Entries };
        array._tags = (ulong*)memory;
        array._data = array._tags + slots;
        array._victims = (ushort*)(array._data + slots);
        memory += BytesFor(level);
        return array;
    }

    private static int Stride(int ways) => (ways + 3) & ~3;

    /// <summary>The tag of the page of size class <paramref name="sizeClass"/> (0: 4 KiB, 1: 2 MiB, 2: 1 GiB, 3: 512 GiB) around an address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong Tag(ulong address, int sizeClass, ulong context)
        => (PageNumber(address, sizeClass) & PageMask) | ((ulong)sizeClass << ClassShift) | (context << ContextShift) | Valid;

    private static ulong PageNumber(ulong address, int sizeClass) => address >> (12 + 9 * sizeClass) & (PageMask >> 9 * sizeClass);

    internal static int SizeClass(ulong tag) => (int)(tag >> ClassShift) & 3;

    /// <summary>The canonical linear address of the page that a tag names.</summary>
    internal static ulong Address(ulong tag)
        => (ulong)((long)((tag & PageMask) << (12 + 9 * SizeClass(tag)) << 16) >> 16);

    /// <summary>The PCID of a tag, or <see cref="GlobalContext"/>.</summary>
    internal static ulong Context(ulong tag) => (tag & (Valid - 1)) >> ContextShift;

    internal readonly int Slots => (_setMask + 1) * _stride;
    internal readonly ulong TagAt(int slot) => _tags[slot];

    /// <summary>Whether a slot holds a translation of a context.</summary>
    internal readonly bool IsOf(int slot, ulong context)
    {
        const ulong fields = (Valid - (1UL << ContextShift)) | Valid;
        return (_tags[slot] & fields) == ((context << ContextShift) | Valid);
    }

    /// <summary>Whether some of a tag's page lies in [start, end).</summary>
    internal static bool Touches(ulong tag, ulong start, ulong end)
        => Address(tag) < end && Address(tag) + (1UL << (12 + 9 * SizeClass(tag))) > start;

    internal readonly ref ulong DataAt(int slot) => ref _data[slot];

    /// <summary>The slot that translates the address in this context or globally; -1 when none does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal readonly int Find(ulong address, int sizeClass, ulong context)
    {
        int first = ((int)PageNumber(address, sizeClass) & _setMask) * _stride;
        var own = Vector256.Create(Tag(address, sizeClass, context));
        var global = Vector256.Create(Tag(address, sizeClass, GlobalContext));
        for (int slot = first; slot < first + _stride; slot += Vector256<ulong>.Count)
        {
            var tags = Vector256.Load(_tags + slot);
            uint hits = (Vector256.Equals(tags, own) | Vector256.Equals(tags, global)).ExtractMostSignificantBits();
            if (hits != 0)
                return slot + BitOperations.TrailingZeroCount(hits);
        }
        return -1;
    }

    /// <summary>The slot with exactly this tag, or -1.</summary>
    internal readonly int FindExact(ulong tag)
    {
        int first = ((int)tag & _setMask) * _stride;
        for (int slot = first; slot < first + _ways; slot++)
        {
            if (_tags[slot] == tag)
                return slot;
        }
        return -1;
    }

    /// <summary>Enters a translation: in place of the one that translates the same page here, else as <see cref="Add"/> does.</summary>
    /// <returns>The slot.</returns>
    /// <param name="replaced">The tag that was in the slot before, or 0.</param>
    /// <param name="replacedData">Its data.</param>
    /// <param name="evictions">Counts the entries of other pages that had to go.</param>
    internal int Fill(ulong address, int sizeClass, ulong context, bool global, ulong data, out ulong replaced, out ulong replacedData, ref ulong evictions)
    {
        int slot = Find(address, sizeClass, context);
        if (slot < 0)
            return Add(address, sizeClass, context, global, data, out replaced, out replacedData, ref evictions);
        replaced = _tags[slot];
        replacedData = _data[slot];
        _tags[slot] = Tag(address, sizeClass, global ? GlobalContext : context);
        _data[slot] = data;
        return slot;
    }

    /// <summary>Enters a translation that is known to be absent: in a free way, else in the victim's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal int Add(ulong address, int sizeClass, ulong context, bool global, ulong data, out ulong replaced, out ulong replacedData, ref ulong evictions)
    {
        int set = (int)PageNumber(address, sizeClass) & _setMask;
        int slot = _live == _capacity ? -1 : FreeWay(set);
        if (slot >= 0)
        {
            _live++;
        }
        else
        {
            int way = _victims[set];
            _victims[set] = (ushort)(way + 1 == _ways ? 0 : way + 1);
            slot = set * _stride + way;
            evictions++;
        }
        replaced = _tags[slot];
        replacedData = _data[slot];
        _tags[slot] = Tag(address, sizeClass, global ? GlobalContext : context);
        _data[slot] = data;
        return slot;
    }

    private readonly int FreeWay(int set)
    {
        int first = set * _stride;
        for (int slot = first; slot < first + _ways; slot++)
        {
            if (_tags[slot] == 0)
                return slot;
        }
        return -1;
    }

    internal void Free(int slot)
    {
        _tags[slot] = 0;
        _live--;
    }

    /// <summary>Frees the entries of one context.</summary>
    internal void FreeContext(ulong context) => FreeContext(context, others: false);

    /// <summary>Frees all entries but the global ones.</summary>
    internal void FreeNonGlobal() => FreeContext(GlobalContext, others: true);

    private void FreeContext(ulong context, bool others)
    {
        if (_live == 0)
            return;
        var field = Vector256.Create((Valid - (1UL << ContextShift)) | Valid);
        var wanted = Vector256.Create((context << ContextShift) | Valid);
        int slots = Slots, live = 0;
        for (int slot = 0; slot < slots; slot += Vector256<ulong>.Count)
        {
            var tags = Vector256.Load(_tags + slot);
            var match = Vector256.Equals(tags & field, wanted);
            var kept = tags & (others ? match : ~match);
            kept.Store(_tags + slot);
            live += Vector256<ulong>.Count - BitOperations.PopCount(Vector256.Equals(kept, Vector256<ulong>.Zero).ExtractMostSignificantBits());
        }
        _live = live;
    }

    internal void Clear()
    {
        if (_live == 0)
            return;
        NativeMemory.Clear(_tags, (nuint)(Slots * sizeof(ulong)));
        _live = 0;
    }
}

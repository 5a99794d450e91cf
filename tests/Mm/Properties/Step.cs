using System.Globalization;

namespace Emulator.Tests.Mm.Properties;

/// <summary>What a step does; how it reads the step's numbers is said where it is done, in <see cref="MmSequence"/>.</summary>
internal enum Op
{
    MapAnon,
    MapShared,
    MapFile,
    MapHuge,
    Unmap,
    Protect,
    Move,
    MoveAndKeep,
    Resize,
    Grow,
    DontNeed,
    Free,
    Cold,
    PageOut,
    Populate,
    Remove,
    HugePage,
    NoHugePage,
    Collapse,
    ForkAdvice,
    Lock,
    Unlock,
    Read,
    Write,
    Fork,
    Exit,
    FileWrite,
    Truncate,
    Punch,
    Compact,
    Migrate,
    Split,
    Pin,
    Get,
    Unpin,
    Dma,
    Remote,
    Attach,
    Mirror,
    Device,
    ToDevice,
    FromDevice,
    Leave,
}

/// <summary>One operation: of which process, on which pages, and two numbers more.</summary>
internal readonly record struct Step(Op Op, int Process, int Start, int Pages, int A, int B)
{
    /// <summary>Two huge pages and a little, so that ranges lie inside, across and beyond tables.</summary>
    public const int AreaPages = 1024 + 48;

    /// <summary>Numbers that a step is made of.</summary>
    public const int Numbers = 6;

    /// <summary>Operations as often as their weight says: what fills memory must outweigh what empties it.</summary>
    private static readonly Op[] Weighted = [.. Enum.GetValues<Op>().SelectMany(static op => Enumerable.Repeat(op, Weight(op)))];

    private static int Weight(Op op) => op switch
    {
        Op.Write => 14,
        Op.Read or Op.MapAnon or Op.MapFile => 6,
        Op.Protect or Op.Fork or Op.Mirror or Op.Device or Op.PageOut => 4,
        Op.Unmap or Op.Move or Op.HugePage or Op.Pin or Op.MapShared or Op.Dma or Op.Remote or Op.Migrate or Op.DontNeed or Op.Exit => 3,
        Op.FromDevice or Op.MapHuge or Op.Cold or Op.NoHugePage or Op.ForkAdvice or Op.MoveAndKeep or Op.Unlock or Op.Leave => 1,
        _ => 2,
    };

    /// <param name="r">Random numbers, <see cref="Numbers"/> of them.</param>
    /// <param name="op">The operation, or null for one by weight.</param>
    /// <param name="huge">Half of the ranges are whole huge pages.</param>
    public static Step From(int[] r, Op? op, bool huge)
    {
        (int start, int pages) = (huge && r[2] / 24 % 2 == 0 ? r[2] % 3 : r[2] % 24) switch
        {
            0 => (0, 512),
            1 => (512, 512),
            2 => (0, AreaPages),
            < 8 => (500 + r[3] % 24, 1 + r[3] / 24 % 12),
            < 12 => (AreaPages - 40 + r[3] % 40, 1 + r[3] / 40 % 12),
            _ => (r[3] % 24, 1 + r[3] / 24 % 12),
        };
        return new Step(op ?? Weighted[r[0] % Weighted.Length], r[1] % 4, start, Math.Min(pages, AreaPages - start), r[4] % 1024, r[5] % 1024);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Op} {Process} {Start} {Pages} {A} {B}");

    public static Step Parse(string text)
    {
        string[] words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        int[] numbers = [.. words.Skip(1).Select(static w => int.Parse(w, CultureInfo.InvariantCulture))];
        return new Step(Enum.Parse<Op>(words[0]), numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
    }
}

/// <summary>The steps of a sequence. Its text is what <see cref="Parse"/> reads, so a failure can be copied into a test.</summary>
internal sealed record Script(IReadOnlyList<Step> Steps)
{
    /// <summary>How scripts begin, so that there is something to work on.</summary>
    private static readonly Op[] Beginning = [Op.MapAnon, Op.MapFile, Op.Attach, Op.MapAnon], BeginningHuge = [Op.MapAnon, Op.HugePage, Op.Attach, Op.Write];

    public static Script From(int[][] numbers, bool huge)
    {
        Op[] beginning = huge ? BeginningHuge : Beginning;
        return new([.. numbers.Select((r, i) => Step.From(r, i < beginning.Length ? beginning[i] : null, huge))]);
    }

    public override string ToString() => string.Join("; ", Steps);

    public static Script Parse(string text) => new([.. text.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(Step.Parse)]);

    /// <summary>The script without some steps, from halves down to single ones.</summary>
    public IEnumerable<Script> Shrink()
    {
        for (int size = Steps.Count / 2; size > 0; size /= 2)
        {
            for (int at = 0; at + size <= Steps.Count; at += size)
                yield return new Script([.. Steps.Take(at), .. Steps.Skip(at + size)]);
        }
    }
}

using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims.Udmabuf;

/// <summary>When the sequence number is read in a callback that asks for the pages whose loss it is told of.</summary>
internal enum Order
{
    /// <summary>The code of 24 August 2023: read_begin in the callback, and no set_seq.</summary>
    AsPosted,

    /// <summary>A number from before the change, and set_seq as the rules have it.</summary>
    SampledBefore,

    /// <summary>set_seq, and then read_begin in the callback.</summary>
    SetThenBegin,

    /// <summary>set_seq alone: the callback asks nothing.</summary>
    DoNotAsk,

    /// <summary>The callback does nothing at all.</summary>
    Silent,
}

/// <summary>An answer of hmm_range_fault.</summary>
internal sealed record Answer(ulong First, int Error, bool Retry, ulong[] Entries)
{
    public override string ToString() => Error == 0
        ? $"0, {Entries.Length} pages, {(Array.TrueForAll(Entries, static e => HmmRange.IsValid(e) && HmmRange.IsWritable(e)) ? "all valid and writable" : "not all writable")}"
        : Errors.Name(Error);
}

/// <summary>An interval notifier that calls hmm_range_fault in its callback, as udmabuf's author tried.</summary>
internal sealed class AskingMirror(Order order, HmmPfn request = HmmPfn.ReqFault) : MmuIntervalNotifier
{
    public List<Answer> Answers { get; } = [];

    public int Calls { get; private set; }

    /// <summary>What read_begin gave before the change.</summary>
    public ulong Sampled { get; private set; }

    public static AskingMirror Insert(Task task, ulong start, ulong length, Order order, HmmPfn request = HmmPfn.ReqFault)
    {
        var mirror = new AskingMirror(order, request);
        Claim.Require(mirror.Insert(task, task.Mm, start, length) == 0, "an interval notifier cannot be inserted");
        mirror.Sampled = mirror.ReadBegin(task);
        return mirror;
    }

    public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
    {
        Calls++;
        if (order is not (Order.AsPosted or Order.Silent))
            SetSequence(sequence);
        if (order is not (Order.DoNotAsk or Order.Silent))
            Answers.Add(Ask(task!, Math.Max(range.Start, Start), Math.Min(range.End, Last + 1), order == Order.SampledBefore ? Sampled : null));
        return true;
    }

    /// <summary>Asks once for the pages [start, end).</summary>
    /// <param name="task">The caller.</param>
    /// <param name="start">First byte.</param>
    /// <param name="end">First byte behind.</param>
    /// <param name="sequence">A number from before; null: read_begin.</param>
    public Answer Ask(Task task, ulong start, ulong end, ulong? sequence = null)
    {
        Mm mm = Mm!;
        ulong[] entries = new ulong[(end - start) >> Pfn.Shift];
        ulong number = sequence ?? ReadBegin(task);
        var range = new HmmRange(mm, start, end, entries) { Notifier = this, NotifierSequence = number, DefaultFlags = request };
        int error;
        using (mm.EnterRead(task))
            error = Hmm.RangeFault(task, range);
        return new Answer(start, error, ReadRetry(number), entries);
    }
}

using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Udmabuf;

/// <summary>Claim 42.</summary>
internal sealed class CallbackGetsOldPages : Claim
{
    public override string Number => "42";
    public override string Name => "callback-gets-old-pages";
    public override string Text => "hmm_range_fault called from the callback of an interval notifier returns the old pages";
    public override string Source => "Vivek Kasireddy, 24 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "the tables still map the pages, and nothing says that they are about to go because the callback has not called mmu_interval_set_seq; the call succeeds";

    protected override Verdict Try(Evidence evidence) => Judge(InCallback.Play(evidence, 0, out _) == Outcome.OldPages);
}

/// <summary>Claim 42b.</summary>
internal sealed class CallbackMeetsAHole : Claim
{
    public override string Number => "42b";
    public override string Name => "callback-meets-a-hole";
    public override string Text => "the same code waits for ever if one page of the hole was never touched";
    public override string Source => "mm/shmem.c:shmem_fault, which nobody in the udmabuf thread remembered";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "the page has to be faulted in; the fault waits for the punch to end, and the punch for the callback";

    protected override Verdict Try(Evidence evidence)
    {
        Require(InCallback.Play(evidence, 0, out _) == Outcome.OldPages, "the code does not run to its end where all pages are there");
        return Judge(InCallback.Play(evidence, 1, out _) == Outcome.Deadlock);
    }
}

/// <summary>Claim 43: with the outcomes of 42, 42b and 45 side by side.</summary>
internal sealed class CallbackGetsBusy : Claim
{
    public override string Number => "43";
    public override string Name => "callback-gets-busy";
    public override string Text => "hmm_range_fault returns -EBUSY in the callback, until mmu_notifier_invalidate_range_end is called";
    public override string Source => "Alistair Popple, 22 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.Partly;
    public override string Reason => "with a number from before the change and set_seq, yes; as posted it succeeds with old pages; with read_begin after set_seq, or a page that is not there, it waits for itself";

    protected override Verdict Try(Evidence evidence)
    {
        Outcome[] outcomes = [.. Enumerable.Range(0, InCallback.All.Length).Select(i => InCallback.Play(evidence, i, out _))];
        string[] worker = [.. WorkerGetsNewPages.Outcomes(evidence)];
        EvidenceCase together = evidence.Case("side by side: in the callback (42, 42b, 43), and by a worker (45)");
        for (int i = 0; i < outcomes.Length; i++)
        {
            together.Add($"{Numbers[i]}, {InCallback.All[i].Title}: {Describe(outcomes[i])}");
            Require(outcomes[i] == InCallback.All[i].Expected, $"{InCallback.All[i].Title}: {Describe(outcomes[i])}");
        }
        foreach (string outcome in worker)
            together.Add($"45, a worker {outcome}");
        return Judge(outcomes.Contains(Outcome.Busy), outcomes.All(static o => o == Outcome.Busy));
    }

    /// <summary>The claims that <see cref="InCallback.All"/> is about.</summary>
    private static readonly string[] Numbers = ["42", "42b", "43", "43"];

    private static string Describe(Outcome outcome) => outcome switch
    {
        Outcome.OldPages => "succeeds, with the old pages",
        Outcome.NewPages => "succeeds, with new pages",
        Outcome.Busy => "-EBUSY",
        Outcome.Deadlock => "waits for itself: deadlock",
        _ => "nothing",
    };
}

/// <summary>Claim 44.</summary>
internal sealed class RetryFailsForEver : Claim
{
    public override string Number => "44";
    public override string Name => "retry-fails-for-ever";
    public override string Text => "mmu_interval_read_retry says 'again' for as long as one is inside the callback";
    public override string Source => "Jason Gunthorpe, 22 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.Partly;
    public override string Reason => "only where set_seq was called and the number is from before; as posted the number has not changed, and the result passes for good";

    protected override Verdict Try(Evidence evidence)
    {
        Require(InCallback.Play(evidence, 0, out bool posted) == Outcome.OldPages, "the code as posted gives something else");
        Require(InCallback.Play(evidence, 2, out bool sampled) == Outcome.Busy, "a number from before gives something else");
        Require(InCallback.Play(evidence, 3, out _) == Outcome.Deadlock, "read_begin after set_seq returns");
        return Judge(posted, sampled);
    }
}

/// <summary>Claim 49.</summary>
internal sealed class WriteRequestBringsNewPages : Claim
{
    public override string Number => "49";
    public override string Name => "write-request-brings-new-pages";
    public override string Text => "asking with HMM_PFN_REQ_WRITE in the callback brings in the new pages";
    public override string Source => "Alistair Popple, 21 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.False;
    public override string Reason => "the entries are present and writable, so there is nothing to fault for";

    protected override Verdict Try(Evidence evidence)
    {
        Outcome read = InCallback.Play(evidence, "asked for reading", Order.AsPosted, -1, HmmPfn.ReqFault, out _);
        Require(read == Outcome.OldPages, "asking for reading gives something else than old pages");
        return Judge(InCallback.Play(evidence, "asked for writing", Order.AsPosted, -1, HmmPfn.ReqFault | HmmPfn.ReqWrite, out _) == Outcome.NewPages);
    }
}

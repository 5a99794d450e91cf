using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims.Udmabuf;

/// <summary>Claim 50.</summary>
internal sealed class ForcedFault : Claim
{
    private const int Enough = 1000;

    public override string Number => "50";
    public override string Name => "forced-fault";
    public override string Text => "making hmm_range_fault fault whatever it finds loops for ever";
    public override string Source => "Vivek Kasireddy, 24 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "each fault that succeeds makes the walk begin again at its page, which is to be faulted again; only a change of the sequence number ends it";

    protected override Verdict Try(Evidence evidence)
    {
        Require(Play(evidence, "faults where they are needed", always: false) == (0, 1), "an ordinary call does not end after one fault");
        return Judge(Play(evidence, "faults always", always: true) is (-Errno.EBUSY, >= Enough));
    }

    private static (int Error, int Restarts) Play(Evidence evidence, string title, bool always)
    {
        (int, int) seen = default;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            var file = new SharedFile(stage, 4);
            AskingMirror mirror = AskingMirror.Insert(task, file.PageAt(1), Pfn.Size, Order.DoNotAsk);
            if (!always)
                file.Punch(task, 1, 1);
            var range = new HmmRange(task.Mm, file.PageAt(1), file.PageAt(2), new ulong[1])
            {
                Notifier = mirror,
                NotifierSequence = mirror.ReadBegin(task),
                DefaultFlags = HmmPfn.ReqFault,
                AlwaysFaults = always,
            };
            bool done = false;
            KernelThread breaker = stage.Machine.Spawn(other =>
            {
                while (Volatile.Read(ref range.Restarts) < Enough && !Volatile.Read(ref done))
                    other.SpinOnce();
                mirror.SetSequence(mirror.Sequence + 2);
            });
            int error;
            using (task.Mm.EnterRead(task))
                error = Hmm.RangeFault(task, range);
            Volatile.Write(ref done, true);
            breaker.Join(task);
            stage.Evidence.Add($"{Errors.Name(error)} after {range.Restarts} faults of one page{(always ? ", when another task changed the sequence number" : "")}");
            seen = (error, range.Restarts);
            mirror.Remove(task);
            file.Close();
        });
        return seen;
    }
}

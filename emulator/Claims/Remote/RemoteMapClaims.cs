using Emulator.Kernel;
using Emulator.Kernel.Mirrors;

namespace Emulator.Claims.Remote;

/// <summary>Claim 63.</summary>
internal sealed class OneClientOneMapping : Claim
{
    public override string Number => "63";
    public override string Name => "one-client-one-mapping";
    public override string Text => "a target has one client, a page one mapping, an address one page";
    public override string Source => "the remote mapping patch, RFC v6, August 2019";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "a second client gets EINVAL, the same page or the same address a second time EALREADY";

    protected override Verdict Try(Evidence evidence) => Judge(Holds(evidence, RemoteMapVariant.RfcV6), Holds(evidence, RemoteMapVariant.Corrected));

    private static bool Holds(Evidence evidence, RemoteMapVariant variant)
    {
        bool holds = false;
        evidence.Stage(variant == RemoteMapVariant.RfcV6 ? "RFC v6 as posted" : "corrected", 3, stage =>
        {
            var inspection = new Inspection(stage, 3);
            Actor client = inspection.Client, other = stage.Enter("other", 2);
            ulong device = Inspection.Open(client, "remote-map"), others = Inspection.Open(other, "remote-map");
            ulong first = Inspection.Place(client), second = Inspection.Place(client), elsewhere = Inspection.Place(other);
            Require(inspection.Map(client, device, 0, first) == 0 && client.Read(first).Value == 1, "a page cannot be mapped");
            long client2 = inspection.Map(other, others, 1, elsewhere), page = inspection.Map(client, device, 0, second), address = inspection.Map(client, device, 1, first);
            stage.Evidence.Add($"another client: {Errors.Name(client2)}; the same page elsewhere: {Errors.Name(page)}; another page at the same address: {Errors.Name(address)}");
            Require(inspection.Map(client, device, 1, second) == 0, "another page cannot be mapped elsewhere");
            holds = client2 == -Errno.EINVAL && page == -Errno.EALREADY && address == -Errno.EALREADY;
            Require(Inspection.Unmap(client, device, first) == 0 && Inspection.Unmap(client, device, second) == 0, "a page cannot be unmapped");
            Require(inspection.Map(other, others, 1, elsewhere) == 0, "the target is not free when its client has let go");
            client.Syscall(SystemCall.Close, device);
            other.Syscall(SystemCall.Close, others);
        }, options => options with { RemoteMapVariant = variant });
        return holds;
    }
}

/// <summary>Claim 64.</summary>
internal sealed class StaleMappingIsUsable : Claim
{
    public override string Number => "64";
    public override string Name => "stale-mapping-is-usable";
    public override string Text => "when the target ends, its client keeps what it has mapped, and can unmap it";
    public override string Source => "the remote mapping patch, RFC v6, August 2019";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "the page is pinned and counted for the client. Only if the client has unmapped the memory itself meanwhile does the patch follow a null pointer to the target";

    protected override Verdict Try(Evidence evidence)
    {
        Require(Keeps(evidence, RemoteMapVariant.Corrected, munmap: true) && !Keeps(evidence, RemoteMapVariant.RfcV6, munmap: true), "the patch as posted finds its way without the target");
        return Judge(Keeps(evidence, RemoteMapVariant.RfcV6, munmap: false), Keeps(evidence, RemoteMapVariant.Corrected, munmap: false));
    }

    private static bool Keeps(Evidence evidence, RemoteMapVariant variant, bool munmap)
    {
        bool keeps = false;
        evidence.Stage($"{(variant == RemoteMapVariant.RfcV6 ? "RFC v6 as posted" : "corrected")}{(munmap ? ", the client unmaps the memory itself" : "")}", 2, stage =>
        {
            var inspection = new Inspection(stage, 1);
            Actor client = inspection.Client;
            ulong device = Inspection.Open(client, "remote-map"), at = Inspection.Place(client);
            Require(inspection.Map(client, device, 0, at) == 0, "a page cannot be mapped");
            inspection.EndTarget(stage);
            Sighting seen = client.Read(at);
            if (munmap)
                client.Syscall(SystemCall.Munmap, at, 4096);
            long unmapped = Inspection.Unmap(client, device, at), again = inspection.Map(client, device, 0, at);
            stage.Evidence.Add($"the target has ended: {seen}; unmap: {Errors.Name(unmapped)}; map again: {Errors.Name(again)}");
            keeps = seen.Finding == Finding.Coherent && seen.Value == 1 && unmapped == 0 && again == -Errno.ESRCH;
            if (variant == RemoteMapVariant.RfcV6 && munmap)
            {
                foreach (Kernel.Notifiers.Violation violation in stage.Violations.Take())
                    stage.Evidence.Add($"rule broken: {violation.Text}");
            }
            client.Syscall(SystemCall.Close, device);
        }, options => options with { RemoteMapVariant = variant });
        return keeps;
    }
}

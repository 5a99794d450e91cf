using Emulator.Kernel;
using Emulator.Kernel.Mirrors.Mshare;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 20.</summary>
internal sealed class SizeCanBeSetAgain : AbiClaim
{
    public override string Number => "20";

    public override string Name => "size-can-be-set-again";

    public override string Text => "SET_SIZE with a start of 0 can be repeated";

    public override string Source => "Jann Horn, mshare RFC v3 thread, 2024";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "a start of 0 is taken for a region that has not been set; the corrected interface remembers that it was, as the patches of 2025 do";

    protected override Verdict Try(Evidence evidence)
    {
        bool posted = CanBeRepeated(evidence, MshareVariant.RfcV3), corrected = CanBeRepeated(evidence, MshareVariant.Corrected);
        Require(!corrected, "the corrected interface lets it be repeated as well");
        return Judge(posted);
    }

    private static bool CanBeRepeated(Evidence evidence, MshareVariant variant)
    {
        bool repeated = false;
        OnVariant(evidence, "SET_SIZE(0, 1 unit), then SET_SIZE(0, 2 units)", variant, (stage, program) =>
        {
            var region = new Region("zero");
            region.Create(program);
            long first = region.SetSize(program, 0, Region.Unit), second = region.SetSize(program, 0, 2 * Region.Unit);
            (_, ulong start, ulong size) = region.GetSize(program);
            stage.Evidence.Add($"first {Errors.Name(first)}, second {Errors.Name(second)}; GET_SIZE gives 0x{start:x}, 0x{size:x}");
            repeated = first == 0 && second == 0 && size == 2 * Region.Unit;
        });
        return repeated;
    }
}

/// <summary>Claim 21.</summary>
internal sealed class StartZeroIsHarmless : AbiClaim
{
    public override string Number => "21";

    public override string Name => "start-0-is-harmless";

    public override string Text => "a start of 0 is mostly harmless, because nothing can be mapped at 0 anyway";

    public override string Source => "Anthony Yznaga, mshare RFC v3 thread, 2024";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "true for the outcome, but not for the reason given: the test for a start of 0 refuses every call before any address is looked at";

    protected override Verdict Try(Evidence evidence)
    {
        bool harmless = false;
        OnVariant(evidence, "a region at 0", MshareVariant.RfcV3, (stage, program) =>
        {
            var region = new Region("zero");
            region.Create(program);
            Require(region.SetSize(program, 0, 2 * Region.Unit) == 0, "the size cannot be set");
            long low = region.CreateMapping(program, 0, 4096), high = region.CreateMapping(program, 0x10_0000, 4096), map = region.Map(program, Region.Unit, Region.Unit);
            stage.Evidence.Add($"CREATE_MAPPING at 0: {Errors.Name(low)}, at 1 MiB, which no other rule forbids: {Errors.Name(high)}; mmap of the second unit: {Errors.Name(map)}");
            harmless = low == -Errno.EINVAL && high == -Errno.EINVAL && map == -Errno.EINVAL;
        });
        OnVariant(evidence, "control: a region elsewhere", MshareVariant.RfcV3, (stage, program) =>
        {
            var region = new Region("elsewhere");
            region.Create(program);
            long size = region.SetSize(program, Region.Start, 2 * Region.Unit), create = region.CreateMapping(program, Region.Start, 4096), map = region.Map(program, Region.Start, Region.Unit);
            stage.Evidence.Add($"SET_SIZE {Errors.Name(size)}, CREATE_MAPPING {Errors.Name(create)}, mmap {Errors.Name(map)}");
            Require(size == 0 && create == 0 && map == (long)Region.Start, "nothing can be mapped elsewhere either");
        });
        return Judge(harmless);
    }
}

/// <summary>Claim 27.</summary>
internal sealed class OverflowIsHarmless : AbiClaim
{
    public override string Number => "27";

    public override string Name => "overflow-is-harmless";

    public override string Text => "CREATE_MAPPING does not look whether address plus size wraps, and that does no damage";

    public override string Source => "found by reading RFC v3";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "the check of the range is passed, and then do_mmap finds the length too long: the wrong error, -ENOMEM, and nothing is mapped";

    protected override Verdict Try(Evidence evidence)
    {
        long posted = Wrap(evidence, MshareVariant.RfcV3), corrected = Wrap(evidence, MshareVariant.Corrected);
        Require(corrected == -Errno.EINVAL, "the corrected interface does not refuse it");
        return Judge(posted == -Errno.ENOMEM);
    }

    private static long Wrap(Evidence evidence, MshareVariant variant)
    {
        long error = 0;
        OnVariant(evidence, "a size that wraps to the region's first page", variant, (stage, program) =>
        {
            Region region = Region.Make(program, 2);
            Kernel.Memory.Mm host = region.Host(program);
            int before = host.MapCount;
            const ulong address = Region.Start + (8 << 12);
            error = region.CreateMapping(program, address, unchecked(0 - address) + Region.Start + 4096);
            stage.Evidence.Add($"CREATE_MAPPING: {Errors.Name(error)}; mappings in the host before and after: {before} and {host.MapCount}");
            Require(host.MapCount == before, "something was mapped");
        });
        return error;
    }
}

/// <summary>Claim 28.</summary>
internal sealed class SizeZeroIsDefault : AbiClaim
{
    public override string Number => "28";

    public override string Name => "size-0-is-default";

    public override string Text => "a size of 0 means a default size";

    public override string Source => "code of mshare RFC v3";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "0 becomes 2^64 - 1, the end of the region wraps to below its start, and every later call fails for ever";

    protected override Verdict Try(Evidence evidence)
    {
        bool usable = false;
        OnVariant(evidence, "SET_SIZE(4 units, 0)", MshareVariant.RfcV3, (stage, program) =>
        {
            var region = new Region("unsized");
            region.Create(program);
            long set = region.SetSize(program, Region.Start, 0);
            (_, _, ulong size) = region.GetSize(program);
            long map = region.Map(program, Region.Start, Region.Unit), create = region.CreateMapping(program, Region.Start, 4096), again = region.SetSize(program, Region.Start, Region.Unit);
            stage.Evidence.Add($"SET_SIZE {Errors.Name(set)}; the size is 0x{size:x}; mmap {Errors.Name(map)}, CREATE_MAPPING {Errors.Name(create)}, SET_SIZE once more {Errors.Name(again)}");
            Require(set == 0, "a size of 0 is refused");
            usable = map >= 0 || create == 0 || again == 0;
        });
        OnVariant(evidence, "SET_SIZE(4 units, 0)", MshareVariant.Corrected, (stage, program) =>
        {
            var region = new Region("unsized");
            region.Create(program);
            long set = region.SetSize(program, Region.Start, 0), again = region.SetSize(program, Region.Start, Region.Unit);
            stage.Evidence.Add($"SET_SIZE {Errors.Name(set)}, SET_SIZE with a size {Errors.Name(again)}");
            Require(set == -Errno.EINVAL && again == 0, "the corrected interface does not refuse it");
        });
        return Judge(usable);
    }
}

/// <summary>Claim 29.</summary>
internal sealed class AnyPartCanBeMapped : AbiClaim
{
    public override string Number => "29";

    public override string Name => "any-part-can-be-mapped";

    public override string Text => "any part of a region that is a multiple of the unit can be mapped";

    public override string Source => "patch text of mshare RFC v3";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "the host's address is counted from the container's start, not from its place in the region: the second unit shows the first one's data";

    protected override Verdict Try(Evidence evidence)
    {
        Require(SecondUnit(evidence, MshareVariant.Corrected) == 2, "the corrected interface does not show the second unit either");
        return Judge(SecondUnit(evidence, MshareVariant.RfcV3) == 2);
    }

    private static byte SecondUnit(Evidence evidence, MshareVariant variant)
    {
        byte seen = 0;
        OnVariant(evidence, "a region of two units, the second one mapped alone", variant, (stage, program) =>
        {
            Region region = Region.Make(program, 0, units: 2);
            Require(region.CreateMapping(program, Region.Start, 4096) == 0 && region.CreateMapping(program, Region.Start + Region.Unit, 4096) == 0, "the units cannot be filled");
            Kernel.Memory.Mm host = region.Host(program);
            host.WriteMemory(stage.Task, Region.Start, [1]);
            host.WriteMemory(stage.Task, Region.Start + Region.Unit, [2]);
            Actor other = stage.Enter("other", 1);
            long at = region.Map(other, Region.Start + Region.Unit, Region.Unit);
            Require(at == (long)(Region.Start + Region.Unit), $"the second unit cannot be mapped: {Errors.Name(at)}");
            Sighting sighting = other.Read(Region.Start + Region.Unit);
            seen = sighting.Value;
            stage.Evidence.Add("the host has 1 in the first unit and 2 in the second");
            stage.Evidence.Add($"{sighting}");
        });
        return seen;
    }
}

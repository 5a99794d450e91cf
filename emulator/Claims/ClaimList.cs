using System.Collections.Immutable;
using Emulator.Claims.Mshare;
using Emulator.Claims.Notifiers;
using Emulator.Claims.Remote;
using Emulator.Claims.Udmabuf;

namespace Emulator.Claims;

/// <summary>All claims, in the order of their numbers.</summary>
public static class ClaimList
{
    public static ImmutableArray<Claim> All { get; } =
    [
        new FlushAllWorksEverywhere(),
        new FlushAllIsCheaper(),
        new PcidsDoNotMatter(),
        new NextSwitchFlushes(),
        new HostFlushIsLocal(),
        new LoopOverSharers(),
        new FlushForEveryPage(),
        new UnionNeedsNewType(),
        new BatchFlushIsPerfect(),
        new HostCpumask(),
        new NotifierOnTheHost(),
        new WrongModeForMshare(),
        new InvalidateRangeIsBroken(),
        new SharersAreNotTold(),
        new ChainedNotifiers(),
        new ExtraReference(),
        new NoLongTermReference(),
        new SizeCanBeSetAgain(),
        new StartZeroIsHarmless(),
        new NestedLock(),
        new UnmapKeepsTheLink(),
        new PartsAreRefused(),
        new ContainerIsProtected(),
        new ProtectionIsPrivate(),
        new OverflowIsHarmless(),
        new SizeZeroIsDefault(),
        new AnyPartCanBeMapped(),
        new ExampleWorks(),
        new TablesOfManyClients(),
        new EntryBytes(),
        new ImmuneToOom(),
        new StartEndForWalkers(),
        new EndMeansFreed(),
        new FlushAllIsTrivial(),
        new NotifyAfterTheLock(),
        new SameTablesNeedNothing(),
        new CallbackGetsOldPages(),
        new CallbackMeetsAHole(),
        new CallbackGetsBusy(),
        new RetryFailsForEver(),
        new WorkerGetsNewPages(),
        new HoleGetsAZeroPage(),
        new SilentRefillIsABug(),
        new EntriesStayPresent(),
        new WriteRequestBringsNewPages(),
        new ForcedFault(),
        new OneAddressSpaceHears(),
        new ToldBeforeTheEntry(),
        new EntryReadWithoutLock(),
        new OldDataNeverServed(),
        new DeviceKeepsWriting(),
        new ResvInNotifier(),
        new MoveNotifyDoesNotHelp(),
        new CallbackHangsOnHugeTlb(),
        new MirrorDoesTheSame(),
        new InsertionMustNotify(),
        new CountsMustBeRight(),
        new OneClientOneMapping(),
        new StaleMappingIsUsable(),
    ];

    /// <summary>The claim of a number or a name, or null.</summary>
    public static Claim? Find(string numberOrName) =>
        All.FirstOrDefault(c => c.Number.Equals(numberOrName, StringComparison.OrdinalIgnoreCase) || c.Name.Equals(numberOrName, StringComparison.OrdinalIgnoreCase));
}

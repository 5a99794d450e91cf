namespace Emulator.Kernel.Tasks.Locks;

/// <summary>What <see cref="LockDep"/> reports, as reports name it; sleeping where it is forbidden is <see cref="Notifiers.NotifierRules.MustNotSleep"/>.</summary>
public static class LockRules
{
    public const string Inversion = "lock order inversion";

    public const string Recursion = "recursive locking";

    public const string PossibleRecursion = "possible recursive locking";

    public const string HeldAtExit = "lock held at exit";
}

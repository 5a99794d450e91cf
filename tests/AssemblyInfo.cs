// Everything may run beside everything else, and no case shares its fixture's fields with another. It must be everything: NUnit gives a fixture that
// is not parallel (or the cases of a method in one) queues of its own, and when it drops them again it drops what a parallel worker, which had
// taken its item but not yet said so (WorkShift's busy count), has put there meanwhile: the run then never ends.
[assembly: Parallelizable(ParallelScope.All)]
[assembly: FixtureLifeCycle(LifeCycle.InstancePerTestCase)]

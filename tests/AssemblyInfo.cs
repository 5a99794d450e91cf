// Everything may run beside everything else, and no case shares its fixture's fields with another.
[assembly: Parallelizable(ParallelScope.All)]
[assembly: FixtureLifeCycle(LifeCycle.InstancePerTestCase)]

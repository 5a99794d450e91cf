using System.Runtime.CompilerServices;
using Emulator.Kernel;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Fuzz;

/// <summary>Two tasks of one machine that do something at the same moment, again and again.</summary>
internal static class KernelThreads
{
    /// <summary>Both halves of a round, and what is looked at when they are done.</summary>
    public delegate (Action<Task> First, Action<Task> Second, Action Check) Prepare(Task task, Round round);

    /// <param name="options">With two vCPUs.</param>
    /// <param name="rounds">How often.</param>
    /// <param name="prepare">Makes a round, by the first task.</param>
    public static void Race(MachineOptions options, int rounds, Prepare prepare)
    {
        using var machine = new Machine(options with { Timeout = TimeSpan.FromSeconds(60), Stdin = -1, Stdout = -1, Stderr = -1 });
        machine.Run(task =>
        {
            var kept = new Round();
            Action<Task> second = static _ => { };
            (int begun, int done) = (0, 0);
            KernelThread other = machine.Spawn(own =>
            {
                for (int i = 1; i <= rounds; i++)
                {
                    Await(own, ref begun, i);
                    if (begun < 0)
                        return;
                    try
                    {
                        second(own);
                    }
                    finally
                    {
                        Volatile.Write(ref done, i);
                    }
                }
            });
            try
            {
                for (int i = 1; i <= rounds && !other.HasEnded; i++)
                {
                    (Action<Task> first, second, Action check) = prepare(task, kept);
                    Volatile.Write(ref begun, i);
                    first(task);
                    Await(task, ref done, i);
                    check();
                }
            }
            finally
            {
                if (done < rounds)
                    Volatile.Write(ref begun, -1);
            }
            other.Join(task);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static void Await(Task task, ref int word, int value)
    {
        while (Volatile.Read(ref word) is var now && now >= 0 && now < value)
        {
            task.SpinOnce();
            Thread.Yield();
        }
    }

    /// <summary>What rounds have in common.</summary>
    internal sealed class Round
    {
        private readonly Dictionary<int, object> _kept = [];
        private readonly int[] _reached = new int[64];

        private int _places = 1;

        /// <summary>The first of so many places to meet at.</summary>
        public int Places(int count) => (_places += count) - count;

        /// <summary>
        /// Brings both halves to a place in their loops at the same moment, as nearly as can be had of a host that may have one processor for the two: so long the one that is
        /// there first looks for the other one.
        /// </summary>
        /// <param name="half">0 or 1: whose call it is.</param>
        /// <param name="place">One more each time (<see cref="Places"/>).</param>
        public void Meet(int half, int place)
        {
            const int Patience = 1000, Apart = 32;
            Volatile.Write(ref _reached[half * Apart], place);
            for (int i = 0; i < Patience && Volatile.Read(ref _reached[(1 - half) * Apart]) < place; i++)
                Thread.SpinWait(1);
        }

        /// <summary>Made in the first round and kept.</summary>
        public T Once<T>(Func<T> make, [CallerLineNumber] int line = 0, [CallerArgumentExpression(nameof(make))] string what = "")
            where T : notnull
        {
            int key = HashCode.Combine(line, what);
            if (!_kept.TryGetValue(key, out object? made))
                _kept[key] = made = make();
            return (T)made;
        }

        public KernelCalls Calls(Task task) => Once(() => new KernelCalls(task));
    }
}

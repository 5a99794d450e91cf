namespace Emulator.Tests.Smp;

internal static class Threads
{
    /// <summary>Runs each action on a thread of its own and waits for all; fails instead of waiting for ever.</summary>
    public static void RunAll(CancellationToken cancel, params Action[] actions)
    {
        Exception? first = null;
        using var left = new CountdownEvent(actions.Length);
        foreach (var action in actions)
        {
            var thread = new Thread(() =>
            {
                try
                {
                    action();
                }
                catch (Exception e)
                {
                    Interlocked.CompareExchange(ref first, e, null);
                }
                finally
                {
                    left.Signal();
                }
            }, 256 * 1024)
            {
                IsBackground = true,
            };
            thread.Start();
        }
        try
        {
            left.Wait(cancel);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"{left.CurrentCount} of {actions.Length} threads did not finish in time");
        }
        Assert.That(first, Is.Null);
    }
}

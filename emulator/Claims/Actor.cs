using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims;

/// <summary>A task that does what it is told on a vCPU of its own, while the scenario waits.</summary>
public sealed class Actor
{
    private readonly Stage _stage;
    private readonly bool _keepsRunning;
    private readonly WaitQueue _told = new(), _done = new();
    private Action<Task>? _work;
    private Exception? _failure;
    private bool _leaves;

    internal Actor(Stage stage, string name, int vcpu, bool keepsRunning, Mm? mm)
    {
        (_stage, Name, Vcpu, _keepsRunning) = (stage, name, vcpu, keepsRunning);
        Thread = stage.Machine.Spawn(Loop, mm, name, vcpu);
    }

    public string Name { get; }

    /// <summary>The vCPU that it acts on.</summary>
    public int Vcpu { get; }

    public KernelThread Thread { get; }

    public Mm Mm => Thread.Task.Mm;

    /// <summary>Acts, and returns when that is done. Any task may tell it to, also in a callback that may sleep.</summary>
    /// <exception cref="Exception">Whatever <paramref name="work"/> threw.</exception>
    public void Do(Action<Task> work)
    {
        Volatile.Write(ref _work, work);
        _told.WakeAll();
        _done.Wait(_stage.Machine.CurrentTask!, this, static a => Volatile.Read(ref a._work) is null, interruptible: false);
        if (Interlocked.Exchange(ref _failure, null) is { } failure)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
    }

    /// <inheritdoc cref="Do(Action{Task})"/>
    public T Ask<T>(Func<Task, T> work)
    {
        T? result = default;
        Do(task => { result = work(task); });
        return result!;
    }

    /// <summary>Maps private anonymous memory.</summary>
    public ulong Map(int pages, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS) =>
        Ask(task => (ulong)task.Mm.Mmap(task, 0, (ulong)pages << 12, prot, flags, null, 0));

    /// <summary>Writes one byte, as the processor would.</summary>
    /// <returns>False: it would be killed by SIGSEGV or SIGBUS.</returns>
    public bool Write(ulong address, byte value) => Ask(task => task.TryWrite(address, value));

    /// <summary>Reads one byte through the vCPU's TLB and says where it came from.</summary>
    /// <param name="address">What to read.</param>
    /// <param name="expected">The frame that an older translation leads to; null: nothing is known of it.</param>
    public Sighting Read(ulong address, FrameTag? expected = null) => Ask(task => Look(task, address, expected));

    private unsafe Sighting Look(Task task, ulong address, FrameTag? expected)
    {
        if (!task.TryTranslateUser(address, write: false, out byte* host))
            return new Sighting(this, address, Finding.Fault, default, 0, expected, 0);
        PhysicalMemory memory = _stage.Machine.Memory;
        var frame = new Pfn((ulong)(host - memory.Base) >> Pfn.Shift);
        uint generation = _stage.Machine.Pages[frame].Generation;
        bool walks = task.Mm.TryWalk(address, write: false, out Pfn now) && now == frame;
        Finding finding = walks ? Finding.Coherent
            : expected is { } tag && tag.Frame == frame && tag.Generation == generation ? Finding.Stale
            : Finding.Corrupt;
        return new Sighting(this, address, finding, frame, generation, expected, *host);
    }

    internal void Leave()
    {
        Volatile.Write(ref _leaves, true);
        _told.WakeAll();
    }

    [SuppressMessage("Design", "CA1031", Justification = "What an act throws belongs to the scenario that told it.")]
    private void Loop(Task task)
    {
        while (!Volatile.Read(ref _leaves))
        {
            if (Volatile.Read(ref _work) is { } work)
            {
                try
                {
                    work(task);
                }
                catch (Exception e) when (e is not TaskKilledException)
                {
                    _failure = e;
                }
                Volatile.Write(ref _work, null);
                _done.WakeAll();
            }
            else if (_keepsRunning)
            {
                task.SpinOnce();
            }
            else
            {
                _told.Wait(task, this, static a => Volatile.Read(ref a._work) is not null || Volatile.Read(ref a._leaves), interruptible: false);
            }
        }
    }
}

/// <summary>A frame at one time of its life: the generation is raised when the frame is freed.</summary>
public readonly record struct FrameTag(Pfn Frame, uint Generation)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"frame 0x{Frame.Value:x} generation {Generation}");
}

/// <summary>What an access came to.</summary>
public enum Finding
{
    /// <summary>No translation, and none to be had.</summary>
    Fault,

    /// <summary>It reached what the page tables say.</summary>
    Coherent,

    /// <summary>It reached a page that the tables do not map there any more, and that has not been freed.</summary>
    Stale,

    /// <summary>It reached a frame that has been freed since.</summary>
    Corrupt,
}

/// <summary>One access, and where it led.</summary>
public readonly record struct Sighting(Actor Actor, ulong Address, Finding Finding, Pfn Frame, uint Generation, FrameTag? Expected, byte Value)
{
    public override string ToString()
    {
        string who = string.Create(CultureInfo.InvariantCulture, $"{Actor.Name} on vCPU {Actor.Vcpu} reads 0x{Address:x}: ");
        if (Finding == Finding.Fault)
            return who + "SIGSEGV or SIGBUS";
        string where = string.Create(CultureInfo.InvariantCulture, $"{Value} from {new FrameTag(Frame, Generation)}");
        return who + Finding switch
        {
            Finding.Coherent => where + ", as the tables say",
            Finding.Stale => where + ", which the tables do not map there any more: stale",
            _ => $"{where}, freed since {(Expected is { } tag ? string.Create(CultureInfo.InvariantCulture, $"generation {tag.Generation}") : "it was mapped")}: corruption",
        };
    }
}

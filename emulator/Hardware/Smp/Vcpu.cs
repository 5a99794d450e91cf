using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Smp;

/// <summary>Why <see cref="Vcpu.Run"/> returned.</summary>
public enum VcpuExit
{
    /// <summary>Somebody asked for attention, or the instruction budget is used up.</summary>
    Attention,
    /// <summary>SYSCALL was executed: RCX, R11 and RIP are as it leaves them.</summary>
    Syscall,
    /// <summary>An exception is recorded in the state.</summary>
    Exception,
}

/// <summary>
/// A virtual CPU: native state, and a permit that one host thread holds at a time. Interrupts from other vCPUs are served by the holder
/// where it polls, and by their sender when the vCPU has no running holder.
/// </summary>
/// <remarks>
/// The permit's word and the attention word order each other (both sides use full fences):
/// <code>
///   sender (Post, ServeIfNotRunning)        holder (Leave, Park)
///   enqueue the call                        serve the queue
///   attention |= Interrupt                  state = Free or Parked
///   read state                              read attention
/// </code>
/// Required: not both reads see the old value, or the call would be served by neither.
/// </remarks>
public sealed unsafe partial class Vcpu : IDisposable
{
    private const int Free = 0, Held = 1, Parked = 2, FreeServed = 3, ParkedServed = 4;

    /// <summary>Reasons in <see cref="VcpuState.Attention"/>; its sign tells whether there is any.</summary>
    private const long Interrupt = long.MinValue | 1, Kernel = long.MinValue | 2;

    // In bounds: the state is one allocation of its type's size and lives as long as the platform; no number of a guest's comes here.
    private readonly ConcurrentQueue<IpiCall> _calls = new();
    private readonly Interpreter _interpreter;
    private GCHandle _handle;
    private int _state;
    private int _holder;

    internal Vcpu(Platform platform, int id)
    {
        Platform = platform;
        Id = id;
        State = (VcpuState*)NativeMemory.AlignedAlloc((nuint)sizeof(VcpuState), 64);
        NativeMemory.Clear(State, (nuint)sizeof(VcpuState));
        State->Registers.Reset();
        _handle = GCHandle.Alloc(this, GCHandleType.Weak);
        State->Self = GCHandle.ToIntPtr(_handle);
        State->JumpCache = JumpCache.Allocate();
        Tlb.Allocate(State, platform.Memory, platform.Geometry);
        Mmu.Configure(State, PagingControls.Linux);
        State->CodeEpoch = long.MaxValue;
        State->Refill = &Chain.Refill;
        State->RefillSlowly = &Chain.RefillSlowly;
        State->WideExchange = platform.HostCode.WideExchange;
        State->LoadMxcsr = platform.HostCode.LoadMxcsr;
        State->StoreMxcsr = platform.HostCode.StoreMxcsr;
        _interpreter = new Interpreter(this, platform);
    }

    public Platform Platform { get; }
    public int Id { get; }
    public VcpuState* State { get; private set; }

    /// <summary>What the software above has running here; of no meaning to the hardware.</summary>
    public object? Occupant { get; set; }
    internal Doorbell Doorbell { get; } = new();

    /// <summary>Who judges the vCPU's use of translations, or null. Set before the vCPU runs.</summary>
    public TranslationWitness? Witness
    {
        get => State->Tlb.Witness == 0 ? null : Mmu.WitnessOf(&State->Tlb);
        set
        {
            if (State->Tlb.Witness != 0)
                GCHandle.FromIntPtr(State->Tlb.Witness).Free();
            State->Tlb.Witness = value is null ? 0 : GCHandle.ToIntPtr(GCHandle.Alloc(value));
            // What is cached already has no stamp.
            Mmu.FlushAll(State, includingGlobals: true);
        }
    }

    /// <summary>The vCPU whose native state this is.</summary>
    internal static Vcpu Of(VcpuState* state) => (Vcpu)GCHandle.FromIntPtr(state->Self).Target!;

    /// <summary>Executes guest code until something needs the kernel. The caller holds the permit.</summary>
    public VcpuExit Run()
    {
        // Whoever stops the others now may have found this vCPU without a runner and have gone on (partner: StoppedOthers.Run, then ServeIfNotRunning).
        var spin = default(SpinWait);
        while (Volatile.Read(ref Platform.StoppingOthers) != 0)
        {
            ServeRequests();
            spin.SpinOnce(sleep1Threshold: -1);
        }
        return _interpreter.Run();
    }

    /// <summary>Inside guest code, not merely held by a kernel that acts for it. Asked on the holder's thread.</summary>
    public bool IsExecuting => State->CodeEpoch != long.MaxValue;

    internal bool IsHeldBy(int thread) => Volatile.Read(ref _state) == Held && Volatile.Read(ref _holder) == thread;

    /// <summary>Takes the permit if nobody has it.</summary>
    public bool TryEnter()
    {
        if (Interlocked.CompareExchange(ref _state, Held, Free) != Free)
            return false;
        Volatile.Write(ref _holder, Environment.CurrentManagedThreadId);
        return true;
    }

    /// <summary>
    /// Takes the permit, waiting while a sender serves the vCPU. Who runs a vCPU next is the scheduler's decision: this is no queue.
    /// </summary>
    public void Enter()
    {
        var spin = default(SpinWait);
        while (!TryEnter())
            spin.SpinOnce(sleep1Threshold: -1);
    }

    /// <summary>Gives the permit back, after serving what has arrived.</summary>
    public void Leave() => StopRunning(Free);

    /// <summary>
    /// The holder keeps the permit but will not poll for a while (the scheduler stops its thread): senders serve the vCPU in its place.
    /// </summary>
    public void Park() => StopRunning(Parked);

    /// <summary>Ends <see cref="Park"/>; from here on the calling thread is the holder.</summary>
    public void Unpark()
    {
        var spin = default(SpinWait);
        while (Interlocked.CompareExchange(ref _state, Held, Parked) != Parked)
            spin.SpinOnce(sleep1Threshold: -1);
        Volatile.Write(ref _holder, Environment.CurrentManagedThreadId);
    }

    private void StopRunning(int state)
    {
        ServeRequests();
        Interlocked.Exchange(ref _state, state); // partner: Post, then ServeIfNotRunning
        ServeIfNotRunning();
    }

    /// <summary>Makes <see cref="Run"/> return <see cref="VcpuExit.Attention"/> soon. Any thread.</summary>
    public void RequestAttention() => Interlocked.Or(ref State->Attention, Kernel);

    /// <summary>Whether attention was requested since the last time; the holder asks once it can give it.</summary>
    public bool TakeAttention()
    {
        if ((Volatile.Read(ref State->Attention) & 2) == 0)
            return false;
        Withdraw(2);
        return true;
    }

    /// <summary>Serves the interrupts that have arrived. The holder calls it wherever it waits; one load when there are none.</summary>
    public void ServeRequests()
    {
        if ((Volatile.Read(ref State->Attention) & 1) != 0)
            Serve(Counter.IpisReceived);
    }

    internal void Post(IpiCall call)
    {
        _calls.Enqueue(call);
        Interlocked.Or(ref State->Attention, Interrupt); // partner: StopRunning, and Serve's Withdraw
        Doorbell.Ring();
    }

    /// <summary>Serves a vCPU that nobody runs, under its permit; does nothing when somebody runs or serves it, who will then do it.</summary>
    internal void ServeIfNotRunning()
    {
        while ((Volatile.Read(ref State->Attention) & 1) != 0)
        {
            int from, during;
            if (Interlocked.CompareExchange(ref _state, FreeServed, Free) == Free)
                (from, during) = (Free, FreeServed);
            else if (Interlocked.CompareExchange(ref _state, ParkedServed, Parked) == Parked)
                (from, during) = (Parked, ParkedServed);
            else
                return;
            Serve(Counter.IpisServedIdle);
            Interlocked.CompareExchange(ref _state, from, during);
        }
    }

    private void Serve(Counter how)
    {
        // Withdrawn before the queue is emptied: a call that arrives behind the last look raises the word again.
        Withdraw(1);
        while (_calls.TryDequeue(out var call))
        {
            if (call.IsInterrupt)
                State->Tlb.Counters[how]++;
            call.ServeOn(this);
        }
    }

    private void Withdraw(long reason)
    {
        ref long word = ref State->Attention;
        while (true)
        {
            long old = Volatile.Read(ref word);
            long rest = old & ~reason;
            if (Interlocked.CompareExchange(ref word, (rest & long.MaxValue) == 0 ? 0 : rest, old) == old)
                return;
        }
    }

    public void Dispose()
    {
        if (State is null)
            return;
        _interpreter.Dispose();
        Witness = null;
        Tlb.Release(State);
        NativeMemory.AlignedFree(State->JumpCache);
        NativeMemory.AlignedFree(State);
        State = null;
        _handle.Free();
    }
}

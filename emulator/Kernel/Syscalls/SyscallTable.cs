namespace Emulator.Kernel.Syscalls;

/// <summary>The x86-64 system-call table: every family's rows, by number.</summary>
/// <remarks>
/// In bounds: structures are copied by <see cref="Memory.UserAccess"/> into values and spans whose size is a constant; where a program says how many or how long, that is compared
/// with one beforehand, as is said beside each. What is copied is looked at once, for other threads may change the original.
/// </remarks>
public sealed class SyscallTable
{
    private static readonly SyscallDefinition[][] Families =
    [
        CloneSyscalls.Table,
        DescriptorSyscalls.Table,
        DirectorySyscalls.Table,
        EventSyscalls.Table,
        ExecSyscalls.Table,
        FutexSyscalls.Table,
        IdentitySyscalls.Table,
        LimitSyscalls.Table,
        MemorySyscalls.Table,
        MessageSyscalls.Table,
        NameSyscalls.Table,
        NumaSyscalls.Table,
        OpenSyscalls.Table,
        PathSyscalls.Table,
        PidFdSyscalls.Table,
        PollSyscalls.Table,
        ReadWriteSyscalls.Table,
        SchedulingSyscalls.Table,
        SemaphoreSyscalls.Table,
        SharedMemorySyscalls.Table,
        SignalSyscalls.Table,
        SocketMessageSyscalls.Table,
        SocketOptionSyscalls.Table,
        SocketSyscalls.Table,
        StatSyscalls.Table,
        SystemSyscalls.Table,
        TimeSyscalls.Table,
        TimerSyscalls.Table,
        TransferSyscalls.Table,
        WaitSyscalls.Table,
    ];

    private static readonly SyscallDefinition?[] ByNumber = Build();

    public SyscallDefinition? this[ulong number] => number < (ulong)ByNumber.Length ? ByNumber[number] : null;

    private static SyscallDefinition?[] Build()
    {
        int last = 0;
        foreach (SyscallDefinition[] family in Families)
            foreach (SyscallDefinition d in family)
                last = Math.Max(last, d.Number);
        var table = new SyscallDefinition?[last + 1];
        foreach (SyscallDefinition[] family in Families)
            foreach (SyscallDefinition d in family)
                table[d.Number] = table[d.Number] is null ? d : throw new InvalidOperationException($"system call {d.Number} is defined twice");
        return table;
    }
}

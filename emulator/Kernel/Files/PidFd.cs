using System.Globalization;
using System.Text;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>pidfd_open(2): names a process for as long as it is open, whatever becomes of the number. Readable once the process has ended (fs/pidfs.c).</summary>
internal sealed class PidFd(Process process, int flags) : EventFile(flags)
{
    public static PidFd Create(Task maker, Process process, int flags) => new(process, flags) { Path = Syscalls.EventSyscalls.Anonymous(maker, "[pidfd]") };

    public Process Process => process;

    public override long Read(Task task, Span<byte> buffer, ref long position) => -Errno.EINVAL;

    public override PollEvents Poll(Task task, PollTable? table)
    {
        // The end of a process is told on this queue too.
        table?.Add(process.SignalArrived);
        return process.IsZombie ? PollEvents.Readable : 0;
    }

    internal override void DescribeTo(StringBuilder text) => text.Append(CultureInfo.InvariantCulture, $"Pid:\t{process.Pid}\n");
}

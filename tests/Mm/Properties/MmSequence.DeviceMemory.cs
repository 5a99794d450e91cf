using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Properties;

/// <summary>Pages that go to the memory of a device, which no processor can reach, and come back from it.</summary>
internal sealed unsafe partial class MmSequence
{
    /// <summary>Moves private pages of a range to the device, what is nowhere yet included.</summary>
    private string? ToDevice(SimulatedProcess p, int start, int pages) => MigrateParts(p, start, pages, MigrateVmaSelect.System, args =>
    {
        for (int i = 0; i < args.Source.Length; i++)
        {
            MigratePfn source = args.Source[i];
            if (!source.Migrate || (source.HasPage && !_machine.Pages[source.Frame].IsAnon) || !_deviceMemory.TryAllocate(out Pfn frame))
                continue;
            _deviceMemory[frame] = source.HasPage ? ReadMarks(source.Frame) : 0;
            args.Destination[i] = new MigratePfn(frame);
        }
    });

    /// <summary>Moves what of a range is in the device back, without anybody's need.</summary>
    private string? FromDevice(SimulatedProcess p, int start, int pages) =>
        MigrateParts(p, start, pages, MigrateVmaSelect.DevicePrivate, args => _deviceMemory.CopyBack(args));

    private string? MigrateParts(SimulatedProcess p, int start, int pages, MigrateVmaSelect select, Action<MigrateVma> copy)
    {
        ulong end = AddressOf(start + pages), next;
        using var scope = p.Mm.EnterRead(_task);
        for (ulong at = AddressOf(start); at < end; at = next)
        {
            next = at + Pfn.Size;
            if (p.Mm.FindVma(at) is not { } vma)
                continue;
            next = Math.Min(end, vma.End);
            var args = new MigrateVma(vma, at, next) { PagemapOwner = this, Select = select };
            int error = args.Setup(_task), expected = p.Model[(int)((at - Area) >> 12)] is { Huge: true } ? -Errno.EINVAL : 0;
            if (error != expected)
                return Expect("migrate_vma_setup", error, expected);
            if (error != 0)
                continue;
            copy(args);
            args.MigratePages(_task);
            args.Complete(_task);
        }
        return null;
    }

    /// <summary>The device's memory; of a page it keeps only the number that stands for it.</summary>
    private sealed class PropertyDeviceMemory : DevPagemap
    {
        private const int Frames = 96;

        private readonly MmSequence _sequence;
        private readonly Stack<Pfn> _free = new();
        private readonly ulong?[] _contents = new ulong?[Frames];

        public PropertyDeviceMemory(MmSequence sequence) : base(sequence)
        {
            _sequence = sequence;
            sequence._machine.Pages.Devices.Add(this, Frames);
            for (ulong i = 0; i < Frames; i++)
                _free.Push(new Pfn(First.Value + i));
        }

        public int Used => Frames - _free.Count;

        /// <summary>What a page holds; null: torn.</summary>
        public ulong? this[Pfn frame]
        {
            get => _contents[frame.Value - First.Value];
            set => _contents[frame.Value - First.Value] = value;
        }

        public bool TryAllocate(out Pfn frame)
        {
            if (!_free.TryPop(out frame))
                return false;
            _sequence._machine.Pages.Devices.InitializePage(frame);
            return true;
        }

        public override void PageFree(Pfn frame) => _free.Push(frame);

        public override FaultOutcome MigrateToRam(Task? task, Vma vma, ulong address, Pfn frame)
        {
            var args = new MigrateVma(vma, address, address + Pfn.Size) { PagemapOwner = Owner, Select = MigrateVmaSelect.DevicePrivate, FaultPage = frame };
            if (args.Setup(task) != 0)
                return FaultOutcome.BusError;
            bool enough = CopyBack(args);
            args.MigratePages(task);
            args.Complete(task);
            return enough ? FaultOutcome.Done : FaultOutcome.OutOfMemory;
        }

        public bool CopyBack(MigrateVma args)
        {
            for (int i = 0; i < args.Source.Length; i++)
            {
                if (args.Source[i] is not { Migrate: true, HasPage: true })
                    continue;
                if (!_sequence._machine.Pages.TryAllocate(PageFlags.Anon, zero: true, out Pfn frame))
                    return false;
                _sequence._machine.Pages.Locks.TryLock(frame);
                // A torn page stays torn.
                _sequence.WriteMarks(frame, this[args.Source[i].Frame] ?? ulong.MaxValue);
                args.Destination[i] = new MigratePfn(frame);
            }
            return true;
        }
    }
}

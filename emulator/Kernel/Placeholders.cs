// Types whose owners replace these lines: delete the line together with pushing the real type.
#pragma warning disable MA0047, CA1050
namespace Emulator.Kernel.Files
{
    public sealed class FdTable;

    public sealed class FsContext;
}

namespace Emulator.Kernel.Mm
{
    public sealed class Mm;
}

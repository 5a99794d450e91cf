using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Which huge pages of the guest's the host is to commit as huge pages of its own. That is as good for it as for a guest, but a guest that touches a byte in each would cost the host
/// 2 MiB for it. So there is credit for a few; when it is used up pages are left to be committed bit by bit, and if the guest touches most of the first of these, there is credit again.
/// </summary>
public sealed partial class HugePages
{
    /// <summary>Huge pages that are trusted to be used, and again after each that was: 32 MiB is what the host may lose.</summary>
    internal const int Credit = 16;

    private const int Pages = (int)PageTables.LeafPages, Used = Pages * 3 / 4;

    private readonly Lock _creditLock = new();
    private int _credit = Credit;
    private Pfn _probe;

    /// <summary>A huge page is going to be touched for the first time.</summary>
    internal unsafe void ExpectUse(Pfn head)
    {
        bool trusted;
        lock (_creditLock)
        {
            // It may have been freed and be somebody else's meanwhile, which does not matter to a guess.
            if (_credit < 0 && HostMemory.CountCommitted(_pages.Memory.Pointer(_probe), Pages) >= Used)
                _credit = Credit;
            // A program that used little of one page may use all of others: the next probe comes after as many.
            if (_credit == -Credit)
                _credit = 0;
            if (_credit == 0)
                _probe = head;
            trusted = _credit-- > 0;
        }
        if (trusted)
            _pages.Expect(head);
        else
            // Its frames may have been used before, and been expected to be then.
            HostMemory.PreferSmallPages(_pages.Memory.Pointer(head), PageTables.HugeSize);
    }
}

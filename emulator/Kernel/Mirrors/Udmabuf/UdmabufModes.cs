namespace Emulator.Kernel.Mirrors;

/// <summary>What a design of the exporter is worth.</summary>
public enum UdmabufSoundness
{
    /// <summary>Every reader sees what the file holds now; no frame is touched that is somebody else's.</summary>
    Sound,

    /// <summary>No frame is touched that is somebody else's, but after a hole is punched readers see other data than the file's.</summary>
    IncoherentByDesign,

    /// <summary>Readers see old data without its being said anywhere, and devices may write to memory that was freed.</summary>
    Unsound,
}

/// <summary>The words for <see cref="UdmabufSoundness"/> in reports.</summary>
public static class UdmabufSoundnessText
{
    public static string Text(this UdmabufSoundness soundness) => soundness switch
    {
        UdmabufSoundness.Sound => "sound",
        UdmabufSoundness.IncoherentByDesign => "incoherent by design",
        _ => "unsound",
    };
}

/// <summary>A design of /dev/udmabuf from the thread "Add support for mapping updates" of July and August 2023.</summary>
/// <param name="Name">As the command line names it.</param>
/// <param name="Soundness">What it is worth.</param>
/// <param name="Proposer">Who argued for it.</param>
/// <param name="Text">How it works, and what is wrong with it.</param>
public sealed record UdmabufMode(string Name, UdmabufSoundness Soundness, string Proposer, string Text)
{
    internal Func<Machine, UdmabufItem[], Udmabuf> Create { get; init; } = null!;

    public override string ToString() => Name;
}

/// <summary>All designs.</summary>
public static class UdmabufModes
{
    public static UdmabufMode Pinned { get; } = new("pinned", UdmabufSoundness.IncoherentByDesign, "Linux; Hugh Dickins, David Hildenbrand",
        "Pages are pinned when the buffer is made. After a hole is punched the buffer keeps them, and the file has others.")
    { Create = static (machine, items) => new PinnedUdmabuf(machine, items) };

    public static UdmabufMode UpdateMapping { get; } = new("update-mapping", UdmabufSoundness.Unsound, "Vivek Kasireddy, RFC v1",
        "A notifier of the maker's address space says which page a fault is about to map there. Other address spaces, other mappings and write(2) are missed, "
        + "nothing is said when a page goes, devices are never told, and the old page is given back under them.")
    { Create = static (machine, items) => new UpdateMappingUdmabuf(machine, items) };

    public static UdmabufMode Hmm { get; } = new("hmm", UdmabufSoundness.Sound, "Jason Gunthorpe",
        "An interval notifier on the maker's mapping takes pages back; hmm_range_fault gets them again when somebody needs them. Good as long as the maker "
        + "keeps its mapping; then accesses fail. Mappings of devices are revoked without the dma_resv, which a notifier must not take.")
    { Create = static (machine, items) => new HmmUdmabuf(machine, items) };

    public static UdmabufMode FileNotifier { get; } = new("file-notifier", UdmabufSoundness.Sound, "Peter Xu",
        "The file says, by offset, that pages are about to leave it, whoever takes them out and whoever maps them. They are looked up again in the file.")
    { Create = static (machine, items) => new FileNotifierUdmabuf(machine, items) };

    public static UdmabufMode AllocatorExport { get; } = new("allocator-export", UdmabufSoundness.Sound, "Daniel Vetter",
        "The file exports itself: who punches a hole takes the buffers' dma_resv first, waits for devices, and tells them by move_notify. No notifier is involved.")
    { Create = static (machine, items) => new AllocatorUdmabuf(machine, items) };

    public static IReadOnlyList<UdmabufMode> All { get; } = [Pinned, UpdateMapping, Hmm, FileNotifier, AllocatorExport];

    public static UdmabufMode? Find(string name) => All.FirstOrDefault(mode => mode.Name.Equals(name, StringComparison.Ordinal));
}

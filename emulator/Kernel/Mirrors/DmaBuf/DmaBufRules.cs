namespace Emulator.Kernel.Mirrors;

/// <summary>The rules of dma-buf (Documentation/driver-api/dma-buf.rst) that are checked, as reports name them.</summary>
public static class DmaBufRules
{
    public const string ExportOps = "an exporter has pin and unpin both or neither, and neither together with cache_sgt_mapping";

    public const string DynamicImporter = "an importer with operations of its own has move_notify";

    public const string ResvHeld = "the dma_resv is held for map, unmap, pin, unpin and move_notify";

    public const string DeviceMemory = "a device touches a buffer's frames only while its mapping keeps them";
}

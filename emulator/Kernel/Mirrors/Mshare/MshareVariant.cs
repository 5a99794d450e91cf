namespace Emulator.Kernel.Mirrors.Mshare;

/// <summary>Which mshare a machine has.</summary>
public enum MshareVariant
{
    /// <summary>The interface of RFC v3 with its defects mended.</summary>
    Corrected,

    /// <summary>RFC v3 as it was posted in September 2024, defects included.</summary>
    RfcV3,
}

namespace Emulator.Kernel;

/// <summary>The Linux release whose behaviour is followed where releases differ.</summary>
public enum KernelProfile
{
    V6_1,
    V6_12,
}

/// <summary>What a profile is called.</summary>
public static class KernelProfiles
{
    /// <summary>What uname reports as the release.</summary>
    public static string Release(this KernelProfile profile) => profile == KernelProfile.V6_1 ? "6.1.0" : "6.12.0";

    /// <summary>Reads a profile as the command line names it: <c>6.1</c> or <c>6.12</c>.</summary>
    public static bool TryParse(string text, out KernelProfile profile)
    {
        profile = text == "6.1" ? KernelProfile.V6_1 : KernelProfile.V6_12;
        return text is "6.1" or "6.12";
    }
}

namespace Emulator.Kernel.Tasks;

/// <summary>User and group identities. The guest's world has one user, who is nobody special: see <see cref="UserId"/>.</summary>
/// <param name="Uid">Real, effective, saved and file-system user id are one and the same as long as nobody is privileged.</param>
public sealed record Credentials(uint Uid, uint Gid)
{
    /// <summary>The user of /etc/passwd in the in-memory root.</summary>
    public const uint UserId = 1000;

    public const uint GroupId = 1000;

    public uint EffectiveUid { get; init; } = Uid;
    public uint SavedUid { get; init; } = Uid;
    public uint EffectiveGid { get; init; } = Gid;
    public uint SavedGid { get; init; } = Gid;
    public IReadOnlyList<uint> Groups { get; init; } = [Gid];
}

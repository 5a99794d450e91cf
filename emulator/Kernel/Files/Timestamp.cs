namespace Emulator.Kernel.Files;

/// <summary>A file time: nanoseconds since 1970, as struct timespec splits them.</summary>
public readonly record struct Timestamp(long Seconds, uint Nanoseconds)
{
    public static Timestamp FromNanoseconds(long ns)
    {
        (long seconds, long rest) = Math.DivRem(ns, Clock.Second);
        return rest < 0 ? new(seconds - 1, (uint)(rest + Clock.Second)) : new(seconds, (uint)rest);
    }
}

/// <summary>What the stat family tells of a file. Sizes are bytes, blocks are 512 bytes.</summary>
public struct InodeAttributes
{
    public ulong Device;
    public ulong Inode;
    public uint Mode;
    public uint LinkCount;
    public uint Uid;
    public uint Gid;
    public ulong SpecialDevice;
    public long Size;
    public uint BlockSize;
    public long Blocks;
    public Timestamp AccessTime;
    public Timestamp ModifyTime;
    public Timestamp ChangeTime;
    public Timestamp BirthTime;

    public readonly uint Type => Mode & FileAbi.S_IFMT;
}

/// <summary>A request to change attributes (struct iattr); what is null stays.</summary>
public struct AttributeChange
{
    public uint? Mode;
    public uint? Uid;
    public uint? Gid;
    public long? Size;
    public Timestamp? AccessTime;
    public Timestamp? ModifyTime;
}

/// <summary>A device number in the kernel's stat encoding (new_encode_dev).</summary>
public static class DeviceNumber
{
    public static ulong Make(uint major, uint minor) => (minor & 0xFF) | (major << 8) | ((ulong)(minor & ~0xFFu) << 12);

    public static uint Major(ulong device) => (uint)(device >> 8) & 0xFFF;

    public static uint Minor(ulong device) => (uint)((device & 0xFF) | ((device >> 12) & 0xFFF00));
}

using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Memory;
using Emulator.Tests.Mm;

namespace Emulator.Tests.Loader;

/// <summary>Makes program files and loads them into a <see cref="MemoryStand"/>.</summary>
internal static class ProgramBuilder
{
    public const ulong Base = 0x40_0000;

    /// <summary>A program of one segment whose code does nothing, with room for whatever a test puts there.</summary>
    public static byte[] Static()
    {
        byte[] image = new byte[0x1000];
        ReadOnlySpan<byte> ident = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        ident.CopyTo(image);
        Put16(image, 16, 2);
        Put16(image, 18, 62);
        Put32(image, 20, 1);
        Put64(image, 24, Base + 0x800);
        Put64(image, 32, 64);
        Put16(image, 52, 64);
        Put16(image, 54, 56);
        Put16(image, 56, 1);
        PutSegment(image, 0, type: 1, flags: 7, 0, Base, 0x1000, 0x3000);
        return image;
    }

    public static void PutSegment(byte[] image, int index, uint type, uint flags, ulong offset, ulong address, ulong fileSize, ulong memorySize)
    {
        int at = 64 + index * 56;
        Put32(image, at, type);
        Put32(image, at + 4, flags);
        Put64(image, at + 8, offset);
        Put64(image, at + 16, address);
        Put64(image, at + 24, address);
        Put64(image, at + 32, fileSize);
        Put64(image, at + 40, memorySize);
        Put64(image, at + 48, 0x1000);
    }

    public static void Put16(byte[] image, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(at), value);

    public static void Put32(byte[] image, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(at), value);

    public static void Put64(byte[] image, int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(at), value);

    public static LoadedProgram? Load(MemoryStand stand, byte[] image, out LoadError? error, string[]? arguments = null, Dictionary<string, byte[]>? files = null)
    {
        using var file = new Opened(FileOf(stand, image));
        var request = new ExecRequest
        {
            System = stand.System,
            File = file.File,
            Path = "/bin/program"u8.ToArray(),
            Arguments = [.. (arguments ?? ["program"]).Select(Encoding.UTF8.GetBytes)],
            Environment = ["HOME=/"u8.ToArray()],
            Open = (byte[] path, out int errno) =>
            {
                errno = Errno.ENOENT;
                return files is not null && files.TryGetValue(Encoding.UTF8.GetString(path), out byte[]? bytes) ? FileOf(stand, bytes) : null;
            },
            Random = new byte[16],
        };
        return ProgramLoader.Load(request, out error);
    }

    private static CacheFile FileOf(MemoryStand stand, byte[] bytes)
    {
        var cache = new ShmemPageCache(stand.Pages);
        cache.Write(0, bytes, task: null);
        return new CacheFile(cache, FileAbi.O_RDONLY);
    }

    private readonly ref struct Opened(OpenFile file)
    {
        public OpenFile File { get; } = file;

        public void Dispose() => File.Put();
    }
}

using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel.Loader;

namespace Emulator.Tests.Loader;

/// <summary>Looks functions up in the vDSO as C libraries do: dynamic section, hash chain, symbol, version.</summary>
public sealed class VdsoTests
{
    private readonly byte[] _image = VdsoImage.Build(0);

    [TestCase("__vdso_clock_gettime")]
    [TestCase("__vdso_gettimeofday")]
    [TestCase("__vdso_clock_getres")]
    [TestCase("__vdso_time")]
    [TestCase("__vdso_getcpu")]
    [TestCase("clock_gettime")]
    public void A_function_is_found_by_name_and_version(string name) => Assert.That(Find(name, "LINUX_2.6"), Is.GreaterThanOrEqualTo(0x800));

    [Test]
    public void A_name_that_is_not_there_is_not_found() => Assert.That(Find("__vdso_nothing", "LINUX_2.6"), Is.Zero);

    private int Find(string name, string version)
    {
        var dynamic = new Dictionary<ulong, int>();
        for (int at = (int)Read64(64 + 56 + 16); Read64(at) != 0; at += 16)
            dynamic.Add(Read64(at), (int)Read64(at + 8));
        (int strings, int symbols, int hash) = (dynamic[5], dynamic[6], dynamic[4]);
        (int versions, int definitions) = (dynamic[0x6FFF_FFF0], dynamic[0x6FFF_FFFC]);

        int buckets = Read32(hash);
        for (int i = Read32(hash + 8 + (int)(Hash(name) % (uint)buckets) * 4); i != 0; i = Read32(hash + 8 + buckets * 4 + i * 4))
        {
            int symbol = symbols + i * 24;
            int index = BinaryPrimitives.ReadUInt16LittleEndian(_image.AsSpan(versions + i * 2));
            if (Text(strings + Read32(symbol)) == name && VersionOf(definitions, strings, index) == version)
                return (int)Read64(symbol + 8);
        }
        return 0;
    }

    private string? VersionOf(int at, int strings, int index)
    {
        while (true)
        {
            if (BinaryPrimitives.ReadUInt16LittleEndian(_image.AsSpan(at + 4)) == index)
            {
                string name = Text(strings + Read32(at + Read32(at + 12)));
                Assert.That((uint)Read32(at + 8), Is.EqualTo(Hash(name)), "the version's hash");
                return name;
            }
            if (Read32(at + 16) == 0)
                return null;
            at += Read32(at + 16);
        }
    }

    /// <summary>The System V ABI's hash, as its text defines it.</summary>
    private static uint Hash(string name)
    {
        uint h = 0;
        foreach (char c in name)
        {
            h = (h << 4) + c;
            uint g = h & 0xF0000000;
            if (g != 0)
                h ^= g >> 24;
            h &= ~g;
        }
        return h;
    }

    private string Text(int at) => Encoding.ASCII.GetString(_image, at, Array.IndexOf(_image, (byte)0, at) - at);

    private int Read32(int at) => BinaryPrimitives.ReadInt32LittleEndian(_image.AsSpan(at));

    private ulong Read64(int at) => BinaryPrimitives.ReadUInt64LittleEndian(_image.AsSpan(at));
}

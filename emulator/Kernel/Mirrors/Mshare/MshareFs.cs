using System.Globalization;
using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Mirrors.Mshare;

/// <summary>msharefs: names of regions, in memory. It has directories and regular files, and mshare_info, which nobody may rename or remove.</summary>
internal sealed class MshareFs : TmpFs
{
    /// <summary>As the patches name it.</summary>
    public const string Type = "msharefs";

    private const uint InfoMode = 0x124;

    public MshareFs(Machine machine, uint minor)
        : base(machine, minor, S_IRWXUGO, 0, 0, Type)
    {
        string unit = MshareRegion.Unit.ToString(CultureInfo.InvariantCulture) + "\n";
        Info = new InfoInode(this, Encoding.ASCII.GetBytes(unit));
        AddEntry(Root, "mshare_info", Info);
    }

    /// <summary>"MSHR".</summary>
    public override ulong Magic => 0x4D53_4852;

    private InfoInode Info { get; }

    /// <summary>simple_statfs.</summary>
    public override long GetStatistics(Dentry dentry, out FilesystemStatistics statistics)
    {
        statistics = new FilesystemStatistics { BlockSize = 4096 };
        return 0;
    }

    internal override bool IsProtected(Inode inode) => inode == Info;

    /// <summary>Regular files only (msharefs_get_inode).</summary>
    internal override long MakeInode(Task task, uint mode, uint uid, uint gid, ulong device, out MemoryInode? inode)
    {
        inode = null;
        if ((mode & S_IFMT) != S_IFREG)
            return -Errno.EINVAL;
        MshareVariant variant = Machine.Options.MshareVariant;
        if (Mm.CreateHost(Machine.MemorySystem, leaky: variant == MshareVariant.RfcV3) is not { Sharing: { } tables })
            return -Errno.ENOMEM;
        tables.OfferOwnership(task.Mm);
        inode = new MshareInode(this, mode, uid, gid, new MshareRegion(tables, variant));
        return 0;
    }

    internal override bool AllowsSymlinks => false;

    /// <summary>Says of what size and alignment regions are.</summary>
    private sealed class InfoInode(Filesystem fs, byte[] text) : MemoryInode(fs, S_IFREG | InfoMode, 0, 0)
    {
        public override long Open(Task task, Files.Path path, int flags, out OpenFile? file)
        {
            file = new InfoFile(text, flags) { Path = path };
            return 0;
        }

        private sealed class InfoFile(byte[] text, int flags) : OpenFile(flags)
        {
            public override bool IsSeekable => true;

            internal override bool CanPoll => false;

            public override long Read(Task task, Span<byte> buffer, ref long position)
            {
                int n = position >= text.Length ? 0 : Math.Min(buffer.Length, text.Length - (int)position);
                text.AsSpan((int)Math.Min(position, text.Length), n).CopyTo(buffer);
                position += n;
                return n;
            }

            public override long Seek(Task task, long offset, int whence) => FileSeek.Apply(this, offset, whence, text.Length);
        }
    }
}

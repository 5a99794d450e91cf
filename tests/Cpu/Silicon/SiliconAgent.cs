using System.Buffers.Binary;
using Iced.Intel;
using static Emulator.Tests.Cpu.Silicon.SiliconLayout;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>
/// The native side: a static ELF program, assembled here, that enters each case's state through rt_sigreturn and leaves it in a
/// signal handler. No register is needed for that, so a case may use all sixteen, and a fault is told exactly: the kernel's
/// frame holds vector, error code and CR2.
/// </summary>
internal sealed class SiliconAgent
{
    private const ulong Base = 0x3A40_0000;
    private const int HeadersBytes = 64 + 56;

    private const int Read = 0, Write = 1, Open = 2, Mmap = 9, Mprotect = 10, RtSigaction = 13, RtSigreturn = 15, SigAltStack = 131, ArchPrctl = 158, ExitGroup = 231;
    private const int ArchSetGs = 0x1001, ArchSetFs = 0x1002, ArchGetFs = 0x1003, ArchGetGs = 0x1004;
    private const int ProtRead = 1, ProtWrite = 2, ProtExec = 4;
    private const int MapShared = 1, MapPrivateAnonymous = 0x22, MapFixed = 0x10, MapPopulate = 0x8000;

    /// <summary>The whole ELF file. It takes the shared file's path as its only argument.</summary>
    public static byte[] BuildElf() => new SiliconAgent().Build();

    private readonly Assembler a = new(64);
    private Label handler, restorer, next, done;

    private byte[] Build()
    {
        (handler, restorer, next, done) = (a.CreateLabel(), a.CreateLabel(), a.CreateLabel(), a.CreateLabel());
        Prepare();
        RunBatches();
        Handle();
        a.Label(ref restorer);
        a.mov(eax, RtSigreturn);
        a.syscall();

        var code = new MemoryStream();
        a.Assemble(new StreamCodeWriter(code), Base + HeadersBytes);
        return WithHeaders(code.ToArray());
    }

    private void Prepare()
    {
        a.mov(rdi, __qword_ptr[rsp + 16]);
        a.mov(esi, 2);
        a.mov(eax, Open);
        a.syscall();
        a.mov(rbx, rax);

        Map(Control, SharedBytes, ProtRead | ProtWrite, MapShared, 0);
        Map(CodeBase, CodePages * PageSize, ProtRead | ProtWrite | ProtExec, MapPrivateAnonymous, 0);
        Map(AlternateStack, AlternateStackBytes, ProtRead | ProtWrite, MapPrivateAnonymous, 0);
        for (var page = 0; page < DataPages; page++)
        {
            if (!IsMapped(page))
                continue;
            var address = DataBase + (ulong)(page * PageSize);
            if (IsWritable(page))
                Map(address, PageSize, ProtRead | ProtWrite, MapPrivateAnonymous, 0);
            else
                Map(address, PageSize, ProtRead, MapShared, PristineOffset + (page * PageSize));
        }

        a.mov(edi, (int)CodeBase);
        a.mov(ecx, CodePages * PageSize);
        a.mov(al, Hlt);
        a.rep.stosb();

        a.sub(rsp, 64);
        a.mov(rax, AlternateStack);
        a.mov(__qword_ptr[rsp], rax);
        a.mov(__qword_ptr[rsp + 8], 0);
        a.mov(__qword_ptr[rsp + 16], AlternateStackBytes);
        a.mov(rdi, rsp);
        a.xor(esi, esi);
        a.mov(eax, SigAltStack);
        a.syscall();

        // struct sigaction: SA_SIGINFO | SA_RESTORER | SA_ONSTACK.
        a.lea(rax, __[handler]);
        a.mov(__qword_ptr[rsp], rax);
        a.mov(__qword_ptr[rsp + 8], 0x0C00_0004);
        a.lea(rax, __[restorer]);
        a.mov(__qword_ptr[rsp + 16], rax);
        a.mov(__qword_ptr[rsp + 24], 0);
        foreach (var signal in (ReadOnlySpan<int>)[4, 5, 7, 8, 11])
        {
            a.mov(edi, signal);
            a.mov(rsi, rsp);
            a.xor(edx, edx);
            a.mov(r10d, 8);
            a.mov(eax, RtSigaction);
            a.syscall();
        }
    }

    /// <summary>Emits mmap, populated so that a present page faults with P set; the file's descriptor is in RBX.</summary>
    private void Map(ulong address, int bytes, int protection, int flags, int offset)
    {
        a.mov(rdi, address);
        a.mov(esi, bytes);
        a.mov(edx, protection);
        a.mov(r10d, flags | MapFixed | MapPopulate);
        a.mov(r8, rbx);
        a.mov(r9d, offset);
        a.mov(eax, Mmap);
        a.syscall();
    }

    private void RunBatches()
    {
        Label wait = a.CreateLabel(), leave = a.CreateLabel();

        a.Label(ref done);
        Transfer(Write, 1);
        a.Label(ref wait);
        Transfer(Read, 0);
        a.cmp(rax, 1);
        a.jne(leave);
        a.mov(__qword_ptr[Control + IndexOffset], 0);

        a.Label(ref next);
        a.mov(rax, __qword_ptr[Control + IndexOffset]);
        a.cmp(rax, __qword_ptr[Control + CountOffset]);
        a.jae(done);
        a.shl(rax, InputShift);
        a.lea(rbx, __[rax + (long)(Control + InputsOffset)]);
        CopyPages(Control + PristineOffset + PageSize, DataBase + PageSize, 2);
        CopyPages(Control + PristineOffset + (5 * PageSize), DataBase + (5 * PageSize), 1);
        a.lea(rsi, __[rbx + InputCodeBytes]);
        a.mov(rdi, __qword_ptr[rbx + InputCodeAddress]);
        a.mov(rcx, __qword_ptr[rbx + InputCodeLength]);
        a.rep.movsb();
        ProtectCode(ProtRead | ProtExec);
        a.movzx(eax, __word_ptr[rbx + InputSelectors]);
        a.mov(es, eax);
        a.movzx(eax, __word_ptr[rbx + InputSelectors + 2]);
        a.mov(ds, eax);
        // These two load null selectors first (arch/x86/kernel/process_64.c:do_arch_prctl_64).
        a.mov(rsi, __qword_ptr[rbx + InputFsBase]);
        Arch(ArchSetFs);
        a.mov(rsi, __qword_ptr[rbx + InputGsBase]);
        Arch(ArchSetGs);
        // rt_sigreturn keeps the caller's ID flag, which a case may have set.
        a.push(0x202);
        a.popfq();
        a.lea(rsp, __[rbx + FrameContext]);
        a.mov(eax, RtSigreturn);
        a.syscall();

        a.Label(ref leave);
        a.xor(edi, edi);
        a.mov(eax, ExitGroup);
        a.syscall();
    }

    private void Handle()
    {
        a.Label(ref handler);
        a.mov(rbx, rdx);
        a.mov(r12, rsi);
        a.mov(rax, __qword_ptr[Control + IndexOffset]);
        a.shl(rax, ResultShift);
        a.lea(r13, __[rax + (long)(Control + ResultsOffset)]);
        Copy(__[rbx + ContextRegisters], __[r13], RegistersBytes);
        Copy(__[r12], __[r13 + ResultInfo], ResultInfoBytes);
        a.mov(rsi, __qword_ptr[rbx + ContextRegisters + FloatingPointer]);
        Copy(__[rsi], __[r13 + ResultFx], 512);
        a.lea(rdi, __[r13 + ResultData]);
        CopyPages(DataBase + PageSize, 0, 2);
        CopyPages(DataBase + (5 * PageSize), 0, 1);
        a.lea(rsi, __[r13 + ResultFsBase]);
        Arch(ArchGetFs);
        a.lea(rsi, __[r13 + ResultGsBase]);
        Arch(ArchGetGs);
        a.mov(__word_ptr[r13 + ResultSelectors], es);
        a.mov(__word_ptr[r13 + ResultSelectors + 2], ds);
        a.mov(__word_ptr[r13 + ResultSelectors + 4], fs);
        a.mov(__word_ptr[r13 + ResultSelectors + 6], gs);

        ProtectCode(ProtRead | ProtWrite);
        a.mov(rbx, __qword_ptr[Control + IndexOffset]);
        a.mov(rax, rbx);
        a.shl(rax, InputShift);
        a.mov(rdi, __qword_ptr[rax + (long)(Control + InputsOffset + InputCodeAddress)]);
        a.mov(rcx, __qword_ptr[rax + (long)(Control + InputsOffset + InputCodeLength)]);
        a.mov(al, Hlt);
        a.rep.stosb();
        a.inc(rbx);
        a.mov(__qword_ptr[Control + IndexOffset], rbx);
        a.jmp(next);
    }

    private void Transfer(int call, int descriptor)
    {
        a.mov(edi, descriptor);
        a.mov(esi, (int)Control + ByteOffset);
        a.mov(edx, 1);
        a.mov(eax, call);
        a.syscall();
    }

    /// <summary>A case must not change the code, as the interpreter's cannot: the next one would run into what it left.</summary>
    private void ProtectCode(int protection)
    {
        a.mov(edi, (int)CodeBase);
        a.mov(esi, CodePages * PageSize);
        a.mov(edx, protection);
        a.mov(eax, Mprotect);
        a.syscall();
    }

    private void Arch(int code)
    {
        a.mov(edi, code);
        a.mov(eax, ArchPrctl);
        a.syscall();
    }

    private void Copy(AssemblerMemoryOperand from, AssemblerMemoryOperand to, int bytes)
    {
        a.lea(rsi, from);
        a.lea(rdi, to);
        a.mov(ecx, bytes / 8);
        a.rep.movsq();
    }

    /// <summary>Emits a copy of whole pages; a destination of 0 goes on where the last copy ended.</summary>
    private void CopyPages(ulong from, ulong to, int pages)
    {
        a.mov(esi, (int)from);
        if (to != 0)
            a.mov(edi, (int)to);
        a.mov(ecx, pages * PageSize / 8);
        a.rep.movsq();
    }

    private static byte[] WithHeaders(byte[] code)
    {
        var elf = new byte[HeadersBytes + code.Length];
        ReadOnlySpan<byte> identification = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identification.CopyTo(elf);
        void Put16(int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(elf.AsSpan(at), value);
        void Put32(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(at), value);
        void Put64(int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(at), value);
        Put16(16, 2);       // ET_EXEC
        Put16(18, 62);      // EM_X86_64
        Put32(20, 1);
        Put64(24, Base + HeadersBytes);
        Put64(32, 64);
        Put16(52, 64);
        Put16(54, 56);
        Put16(56, 1);
        Put32(64, 1);       // PT_LOAD
        Put32(68, 5);       // R + X
        Put64(80, Base);
        Put64(88, Base);
        Put64(96, (ulong)elf.Length);
        Put64(104, (ulong)elf.Length);
        Put64(112, PageSize);
        code.CopyTo(elf, HeadersBytes);
        return elf;
    }
}

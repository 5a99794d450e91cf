using System.Runtime.InteropServices;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// Machine code of the host for what C# cannot say, in pages that are written first and executable afterwards. Empty on hosts other than x86-64.
/// </summary>
internal sealed unsafe class HostCode : IDisposable
{
    /// <summary><c>int exchange(UInt128* target, ulong* gpr)</c>: CMPXCHG16B with the operands of the guest's registers, by the System V convention.</summary>
    private static ReadOnlySpan<byte> WideExchangeCode =>
    [
        0x53,                         // push rbx
        0x48, 0x8B, 0x06,             // mov rax, [rsi]
        0x48, 0x8B, 0x56, 0x10,       // mov rdx, [rsi+16]
        0x48, 0x8B, 0x4E, 0x08,       // mov rcx, [rsi+8]
        0x48, 0x8B, 0x5E, 0x18,       // mov rbx, [rsi+24]
        0xF0, 0x48, 0x0F, 0xC7, 0x0F, // lock cmpxchg16b [rdi]
        0x48, 0x89, 0x06,             // mov [rsi], rax
        0x48, 0x89, 0x56, 0x10,       // mov [rsi+16], rdx
        0x0F, 0x94, 0xC0,             // sete al
        0x0F, 0xB6, 0xC0,             // movzx eax, al
        0x5B,                         // pop rbx
        0xC3,                         // ret
    ];

    /// <summary><c>void load(uint* mxcsr)</c>.</summary>
    private static ReadOnlySpan<byte> LoadMxcsrCode => [0x0F, 0xAE, 0x17, 0xC3]; // ldmxcsr [rdi]; ret

    /// <summary><c>void store(uint* mxcsr)</c>.</summary>
    private static ReadOnlySpan<byte> StoreMxcsrCode => [0x0F, 0xAE, 0x1F, 0xC3]; // stmxcsr [rdi]; ret

    private readonly List<(nint Address, nuint Bytes)> _pages = [];

    public HostCode()
    {
        if (!IsSupported)
            return;
        WideExchange = Add(WideExchangeCode);
        LoadMxcsr = Add(LoadMxcsrCode);
        StoreMxcsr = Add(StoreMxcsrCode);
    }

    /// <summary>Whether the host executes x86-64 code called by the System V convention.</summary>
    public static bool IsSupported => RuntimeInformation.ProcessArchitecture == Architecture.X64 && !OperatingSystem.IsWindows();

    public void* WideExchange { get; }
    public void* LoadMxcsr { get; }
    public void* StoreMxcsr { get; }

    /// <summary>Makes code callable; it lives as long as the platform. In bounds: the code is a constant of ours, and pages are reserved for all of it.</summary>
    public void* Add(ReadOnlySpan<byte> code)
    {
        nuint bytes = ((nuint)code.Length + 4095) & ~(nuint)4095;
        byte* page = HostMemory.Reserve(bytes);
        code.CopyTo(new Span<byte>(page, (int)bytes));
        HostMemory.MakeExecutable(page, bytes);
        _pages.Add(((nint)page, bytes));
        return page;
    }

    public void Dispose()
    {
        foreach ((nint address, nuint bytes) in _pages)
            HostMemory.Release((byte*)address, bytes);
        _pages.Clear();
    }
}

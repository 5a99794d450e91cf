namespace Emulator.Hardware.Memory;

/// <summary>A page frame number: a physical address without its low 12 bits.</summary>
public readonly record struct Pfn(ulong Value)
{
    public const int Shift = 12;
    public const ulong Size = 1UL << Shift;

    /// <summary>Physical address of the frame's first byte.</summary>
    public ulong Address => Value << Shift;

    public override string ToString() => $"{Value:x}";
}

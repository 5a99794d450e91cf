namespace Emulator.Hardware.Cpu.X87;

/// <summary>Control instructions and the environment images of FSTENV and FSAVE (SDM vol. 1, 8.1.10 and 8.3.11).</summary>
internal static unsafe class X87Control
{
    /// <summary>Sizes in bytes of the environment: with 32-bit and with 16-bit operand size.</summary>
    public const int EnvironmentSize = 28, ShortEnvironmentSize = 14;

    /// <summary>The eight registers behind the environment in FSAVE's image, 10 bytes each.</summary>
    public const int RegistersSize = 80;

    /// <summary>Control word bits that exist; bit 6 reads as 1.</summary>
    private const ushort ControlMask = 0x1F3F, ControlFixed = 0x40;

    public static void SetControl(X87State* s, ushort value)
    {
        s->Control = (ushort)((value & ControlMask) | ControlFixed);
        X87Stack.Summarize(s);
    }

    public static void Fninit(VcpuRegisters* r, int i) => Initialize(&r->X87);

    /// <summary>FNINIT leaves the registers' contents.</summary>
    public static void Initialize(X87State* s)
    {
        s->Control = 0x37F;
        s->Status = 0;
        s->Valid = 0;
        s->Opcode = 0;
        s->InstructionPointer = 0;
        s->DataPointer = 0;
    }

    public static void Fnclex(VcpuRegisters* r, int i)
        => r->X87.Status &= unchecked((ushort)~(X87Status.Exceptions | X87Status.StackFault | X87Status.ErrorSummary | X87Status.Busy));

    public static void FnstswAx(VcpuRegisters* r, int i) => *(ushort*)r = r->X87.Status;

    public static void Ffree(VcpuRegisters* r, int i)
    {
        r->X87.Valid &= (byte)~(1 << X87Stack.Physical(&r->X87, i));
        MoveTop(&r->X87, 0);
    }

    /// <summary>FFREEP: undocumented, kept by every processor.</summary>
    public static void Ffreep(VcpuRegisters* r, int i)
    {
        Ffree(r, i);
        X87Stack.Pop(&r->X87);
    }

    public static void Fincstp(VcpuRegisters* r, int i) => MoveTop(&r->X87, 1);

    public static void Fdecstp(VcpuRegisters* r, int i) => MoveTop(&r->X87, 7);

    /// <summary>Moves TOP and clears C1.</summary>
    private static void MoveTop(X87State* s, uint by)
        => s->Status = (ushort)((s->Status & ~(X87Status.Top | X87Status.C1)) | ((s->Status + (by << X87Status.TopShift)) & X87Status.Top));

    public static void Fnop(VcpuRegisters* r, int i)
    {
    }

    public static void Fldcw(X87State* s, byte* operand) => SetControl(s, *(ushort*)operand);

    public static void Fnstcw(X87State* s, byte* destination) => *(ushort*)destination = s->Control;

    public static void Fnstsw(X87State* s, byte* destination) => *(ushort*)destination = s->Status;

    // In bounds: images have 14 or 28 bytes, and 80 for the registers; the handlers' types say so, and shifts are by constants.
    /// <summary>Stores the environment, then masks all exceptions.</summary>
    public static void Fnstenv(X87State* s, byte* destination)
    {
        uint* image = (uint*)destination;
        image[0] = 0xFFFF0000 | s->Control;
        image[1] = 0xFFFF0000 | s->Status;
        image[2] = 0xFFFF0000 | FullTags(s);
        image[3] = (uint)s->InstructionPointer;
        // The selectors of both pointers are deprecated and stored as 0 (CPUID.7.0:EBX bit 13).
        image[4] = (uint)s->Opcode << 16;
        image[5] = (uint)s->DataPointer;
        image[6] = 0xFFFF0000;
        MaskAll(s);
    }

    public static void FnstenvShort(X87State* s, byte* destination)
    {
        ushort* image = (ushort*)destination;
        image[0] = s->Control;
        image[1] = s->Status;
        image[2] = FullTags(s);
        image[3] = (ushort)s->InstructionPointer;
        image[4] = 0;
        image[5] = (ushort)s->DataPointer;
        image[6] = 0;
        MaskAll(s);
    }

    private static void MaskAll(X87State* s)
    {
        s->Control |= (ushort)X87Status.Exceptions;
        X87Stack.Summarize(s);
    }

    public static void Fldenv(X87State* s, byte* operand)
    {
        uint* image = (uint*)operand;
        s->InstructionPointer = image[3];
        s->Opcode = (ushort)((image[4] >> 16) & 0x7FF);
        s->DataPointer = image[5];
        LoadWords(s, (ushort)image[0], (ushort)image[1], (ushort)image[2]);
    }

    public static void FldenvShort(X87State* s, byte* operand)
    {
        ushort* image = (ushort*)operand;
        s->InstructionPointer = image[3];
        s->DataPointer = image[5];
        s->Opcode = 0;
        LoadWords(s, image[0], image[1], image[2]);
    }

    private static void LoadWords(X87State* s, ushort control, ushort status, ushort tags)
    {
        s->Status = status;
        s->Valid = 0;
        for (int i = 0; i < 8; i++)
        {
            if (((tags >> (i * 2)) & 3) != 3)
                s->Valid |= (byte)(1 << i);
        }
        SetControl(s, control);
    }

    public static void Fnsave(X87State* s, byte* destination)
    {
        Fnstenv(s, destination);
        SaveRegisters(s, destination + EnvironmentSize);
    }

    public static void FnsaveShort(X87State* s, byte* destination)
    {
        FnstenvShort(s, destination);
        SaveRegisters(s, destination + ShortEnvironmentSize);
    }

    private static void SaveRegisters(X87State* s, byte* destination)
    {
        for (int i = 0; i < 8; i++)
        {
            Float80 value = X87Stack.Get(s, i);
            *(ulong*)(destination + (i * 10)) = value.Significand;
            *(ushort*)(destination + (i * 10) + 8) = value.SignExponent;
        }
        Initialize(s);
    }

    public static void Frstor(X87State* s, byte* operand)
    {
        Fldenv(s, operand);
        LoadRegisters(s, operand + EnvironmentSize);
    }

    public static void FrstorShort(X87State* s, byte* operand)
    {
        FldenvShort(s, operand);
        LoadRegisters(s, operand + ShortEnvironmentSize);
    }

    private static void LoadRegisters(X87State* s, byte* operand)
    {
        for (int i = 0; i < 8; i++)
            X87Stack.Put(s, i, new Float80(*(ulong*)(operand + (i * 10)), *(ushort*)(operand + (i * 10) + 8)));
    }

    /// <summary>The tag word in its full form: valid, zero, special, empty (SDM vol. 1, 8.1.7).</summary>
    public static ushort FullTags(X87State* s)
    {
        int tags = 0;
        for (int i = 0; i < 8; i++)
        {
            Float80 value = ((Float80*)s->Registers)[i];
            int tag = ((s->Valid >> i) & 1) == 0 ? 3 : value.IsNormal ? 0 : value.IsZero ? 1 : 2;
            tags |= tag << (i * 2);
        }
        return (ushort)tags;
    }
}

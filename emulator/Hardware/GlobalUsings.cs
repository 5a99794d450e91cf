global using unsafe Handler = delegate*<Emulator.Hardware.Cpu.VcpuState*, Emulator.Hardware.Cpu.Op*, nint>;

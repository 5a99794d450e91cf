using Emulator.Cli.Commands;

return CommandLine.Run(args);

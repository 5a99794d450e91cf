using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Filters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Perfolizer.Horology;

// --quick: one benchmark for each question, with small parameters and short runs, in less than two minutes altogether.
const string quick = "--quick";
const long most = 64;
if (!args.Contains(quick, StringComparer.Ordinal))
{
    BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
    return;
}

IConfig config = ManualConfig.CreateMinimumViable()
    .AddJob(Job.Default.WithToolchain(InProcessNoEmitToolchain.Instance).WithWarmupCount(1).WithIterationCount(3).WithIterationTime(TimeInterval.FromMilliseconds(100)))
    .AddFilter(new AnyCategoriesFilter(["Quick"]), new SimpleFilter(benchmark => benchmark.Parameters.Items.All(p => p.Value is not IConvertible value || value is string || value.ToInt64(null) <= most)))
    .WithOptions(ConfigOptions.JoinSummary | ConfigOptions.DisableLogFile);
string[] rest = [.. args.Where(argument => !argument.Equals(quick, StringComparison.Ordinal))];
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(rest.Length > 0 ? rest : ["--filter", "*"], config);

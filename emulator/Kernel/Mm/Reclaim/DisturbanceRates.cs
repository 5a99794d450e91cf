using System.Globalization;

namespace Emulator.Kernel.Memory;

/// <summary>How often the memory of running programs is changed under them: events in a million guest instructions, of all vCPUs together.</summary>
/// <param name="Migrate">A page moves to another frame.</param>
/// <param name="Reclaim">A page is unmapped and, if nobody holds it, written to swap or dropped.</param>
/// <param name="Split">A huge page is split.</param>
/// <param name="Fill">A vCPU's TLB is filled from a present, accessed entry that no instruction asked for.</param>
public readonly record struct DisturbanceRates(int Migrate, int Reclaim, int Split, int Fill)
{
    public const int Maximum = 100_000;

    public int Total => Migrate + Reclaim + Split + Fill;

    /// <summary>Reads <c>migrate=RATE,reclaim=RATE,split=RATE,fill=RATE</c>, any of them and each once.</summary>
    public static bool TryParse(string text, out DisturbanceRates rates, out string error)
    {
        rates = default;
        error = "";
        int seen = 0;
        foreach (string part in text.Split(','))
        {
            int sign = part.IndexOf('=', StringComparison.Ordinal);
            string kind = sign < 0 ? part : part[..sign];
            int bit = kind switch { "migrate" => 1, "reclaim" => 2, "split" => 4, "fill" => 8, _ => 0 };
            if (bit == 0 || sign < 0)
                error = "write KIND=RATE,... with migrate, reclaim, split and fill";
            else if ((seen & bit) != 0)
                error = $"{kind} is there twice";
            else if (!int.TryParse(part.AsSpan(sign + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int rate) || rate > Maximum)
                error = $"{kind} is a number of events in a million instructions, 0 to {Maximum}";
            else
                rates = bit switch
                {
                    1 => rates with { Migrate = rate },
                    2 => rates with { Reclaim = rate },
                    4 => rates with { Split = rate },
                    _ => rates with { Fill = rate },
                };
            if (error.Length != 0)
                return false;
            seen |= bit;
        }
        return true;
    }
}

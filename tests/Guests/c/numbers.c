// Floating-point output that must be right to the last digit, and the mathematical library.
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    volatile double values[] = { 0.1, 1.0 / 3, 1e22, 1e23, 5e-324, DBL_MAX, DBL_MIN, 123456789.125, 0.5, 2.5, -0.0, 1e100 };
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        printf("%.17g %.3f %.6e %a\n", values[i], values[i] > 1e50 ? 0 : values[i], values[i], values[i]);
    volatile double x = 2.0, y = 0.5;
    printf("%.15g %.15g %.15g\n", sqrt(x), fabs(-x), floor(-y));
    printf("%.12g %.12g %.12g %.12g\n", sin(y), cos(y), tan(y), atan2(y, x));
    printf("%.12g %.12g %.12g %.12g\n", exp(y), log(x), pow(x, y), log10(x));
    printf("%.12g %.12g %.12g\n", ceil(y), fmod(7.5, x), ldexp(y, 10));
    printf("%d %d %d\n", isnan(NAN) != 0, isinf(INFINITY) != 0, signbit(-0.0) != 0);
    volatile float single = 16777216.0f;
    printf("%.9g %.9g\n", single + 1.0f, (double)(single / 3.0f));
    volatile int64_t big = INT64_MAX;
    volatile uint64_t unsigned_big = UINT64_MAX;
    printf("%.17g %.17g %lld\n", (double)big, (double)unsigned_big, (long long)(double)(1LL << 53));
    volatile long double wide = 1.0L;
    wide /= 3;
    printf("%.15g %d\n", (double)(wide * 3), wide * 3 == 1.0L);
    double sum = 0;
    for (int i = 1; i <= 100000; i++)
        sum += 1.0 / ((double)i * i);
    printf("%.15g\n", sum);
    printf("%.10g %.10g\n", strtod("1e-320", NULL), strtod("0x1.8p3", NULL));
    return 0;
}

// SSE arithmetic with known results, rounding modes, and the sticky flags of MXCSR (SDM vol. 1, 10.2.3 and 11.5).
#include "guest.h"
#include "guest/signals.h"

enum { INVALID = 1, DENORMAL = 2, DIVIDE = 4, OVERFLOW = 8, UNDERFLOW = 16, PRECISION = 32, ALL = 63 };
enum { DEFAULT = 0x1f80, FLUSH = 0x8000, DENORMALS_ZERO = 0x40 };

static void set_mxcsr(uint32_t value)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(value));
}

static uint32_t get_mxcsr(void)
{
    uint32_t value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}

static uint64_t bits(double value)
{
    uint64_t raw;
    memcpy(&raw, &value, 8);
    return raw;
}

static double from_bits(uint64_t raw)
{
    double value;
    memcpy(&value, &raw, 8);
    return value;
}

#define OPERATION(name, instruction) \
    static double name(double a, double b) \
    { \
        __asm__ volatile(instruction " %1, %0" : "+x"(a) : "x"(b)); \
        return a; \
    }
OPERATION(add, "addsd")
OPERATION(subtract, "subsd")
OPERATION(multiply, "mulsd")
OPERATION(divide, "divsd")
OPERATION(minimum, "minsd")
OPERATION(square_root, "sqrtsd")

static void check_operation(double (*operation)(double, double), double a, double b, uint64_t want, uint32_t flags)
{
    set_mxcsr(DEFAULT);
    double result = operation(a, b);
    uint32_t status = get_mxcsr();
    set_mxcsr(DEFAULT);
    CHECK_EQ(bits(result), want);
    CHECK_EQ(status & ALL, flags);
}

static void check_arithmetic(void)
{
    double infinity = from_bits(0x7ff0000000000000), huge = from_bits(0x7fefffffffffffff), tiny = from_bits(1);
    double quiet = from_bits(0x7ff8000000000123), signalling = from_bits(0x7ff0000000000123);
    check_operation(add, 1.5, 2.25, 0x400e000000000000, 0);
    check_operation(add, 0.1, 0.2, 0x3fd3333333333334, PRECISION);
    check_operation(subtract, 1, 1, 0, 0);
    check_operation(multiply, 1e308, 10, 0x7ff0000000000000, OVERFLOW | PRECISION);
    check_operation(multiply, 3e-308, 1e-10, 0x943e7, UNDERFLOW | PRECISION);
    check_operation(divide, 1, 3, 0x3fd5555555555555, PRECISION);
    check_operation(divide, 1, 0, 0x7ff0000000000000, DIVIDE);
    check_operation(divide, -1, 0, 0xfff0000000000000, DIVIDE);
    check_operation(divide, 0, 0, 0xfff8000000000000, INVALID);
    check_operation(subtract, infinity, infinity, 0xfff8000000000000, INVALID);
    check_operation(square_root, 0, 2, 0x3ff6a09e667f3bcd, PRECISION);
    check_operation(square_root, 0, -4, 0xfff8000000000000, INVALID);
    check_operation(add, tiny, 1, 0x3ff0000000000000, DENORMAL | PRECISION);
    check_operation(add, huge, huge, 0x7ff0000000000000, OVERFLOW | PRECISION);
    check_operation(add, quiet, 1, 0x7ff8000000000123, 0);
    check_operation(add, signalling, 1, 0x7ff8000000000123, INVALID);
    check_operation(minimum, quiet, 1, 0x3ff0000000000000, INVALID);
    check_operation(minimum, 0.0, -0.0, 0x8000000000000000, 0);
    passed("arithmetic");
}

static void check_rounding(void)
{
    // 1/3 and -1/3, and CVTSD2SI of 2.5 and -2.5, in the order nearest, down, up, truncate.
    static const uint64_t thirds[4] = { 0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555556, 0x3fd5555555555555 };
    static const uint64_t negatives[4] = { 0xbfd5555555555555, 0xbfd5555555555556, 0xbfd5555555555555, 0xbfd5555555555555 };
    static const int halves[4] = { 2, 2, 3, 2 }, negative_halves[4] = { -2, -3, -2, -2 };
    for (uint32_t mode = 0; mode < 4; mode++) {
        set_mxcsr(DEFAULT | mode << 13);
        double third = divide(1, 3), negative = divide(-1, 3), a = 2.5, b = -2.5;
        int x, y;
        __asm__ volatile("cvtsd2si %1, %0" : "=r"(x) : "x"(a));
        __asm__ volatile("cvtsd2si %1, %0" : "=r"(y) : "x"(b));
        set_mxcsr(DEFAULT);
        CHECK_EQ(bits(third), thirds[mode]);
        CHECK_EQ(bits(negative), negatives[mode]);
        CHECK_EQ(x, halves[mode]);
        CHECK_EQ(y, negative_halves[mode]);
    }
    set_mxcsr(DEFAULT | FLUSH);
    double flushed = multiply(3e-308, 1e-10);
    CHECK_EQ(get_mxcsr() & ALL, UNDERFLOW | PRECISION);
    set_mxcsr(DEFAULT | DENORMALS_ZERO);
    double zeroed = multiply(from_bits(1), 4);
    CHECK_EQ(get_mxcsr() & ALL, 0);
    set_mxcsr(DEFAULT);
    CHECK_EQ(bits(flushed), 0);
    CHECK_EQ(bits(zeroed), 0);
    passed("rounding and denormals");
}

static void check_conversions(void)
{
    set_mxcsr(DEFAULT);
    volatile double big = 1e30, not_a_number = from_bits(0x7ff8000000000000), exact = 1234567.0, inexact = 0.75;
    CHECK_EQ((int64_t)exact, 1234567);
    CHECK_EQ(get_mxcsr() & ALL, 0);
    int64_t wide;
    __asm__ volatile("cvttsd2si %1, %0" : "=r"(wide) : "x"(big));
    CHECK_EQ(wide, (int64_t)(1ul << 63));
    int32_t narrow;
    __asm__ volatile("cvttsd2si %1, %0" : "=r"(narrow) : "x"(not_a_number));
    CHECK_EQ(narrow, (int32_t)0x80000000);
    CHECK_EQ(get_mxcsr() & ALL, INVALID);
    set_mxcsr(DEFAULT);
    CHECK_EQ((int)inexact, 0);
    CHECK_EQ(get_mxcsr() & ALL, PRECISION);
    set_mxcsr(DEFAULT);
    float single = (float)0.1;
    uint32_t raw;
    memcpy(&raw, &single, 4);
    CHECK_EQ(raw, 0x3dcccccd);
    CHECK_EQ(bits((double)single), 0x3fb99999a0000000);
    CHECK_EQ(bits((double)(uint64_t)0xffffffffffffffff), 0x43f0000000000000);
    CHECK_EQ(bits((double)(int64_t)-9007199254740993), 0xc340000000000000);
    passed("conversions");
}

static void check_compares(void)
{
    double quiet = from_bits(0x7ff8000000000000);
    static const struct { double a, b; int flags; } cases[] = { { 1, 2, 1 }, { 2, 1, 0 }, { 2, 2, 0x40 }, { 0.0, -0.0, 0x40 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t flags;
        __asm__("ucomisd %2, %1\n\tpushfq\n\tpop %0" : "=r"(flags) : "x"(cases[i].a), "x"(cases[i].b) : "cc", "memory");
        CHECK_EQ(flags & 0x8d5, cases[i].flags);
    }
    uint64_t flags;
    set_mxcsr(DEFAULT);
    __asm__ volatile("ucomisd %1, %1\n\tpushfq\n\tpop %0" : "=r"(flags) : "x"(quiet) : "cc", "memory");
    CHECK_EQ(flags & 0x8d5, 0x45);
    CHECK_EQ(get_mxcsr() & ALL, 0);
    __asm__ volatile("comisd %1, %1\n\tpushfq\n\tpop %0" : "=r"(flags) : "x"(quiet) : "cc", "memory");
    CHECK_EQ(flags & 0x8d5, 0x45);
    CHECK_EQ(get_mxcsr() & ALL, INVALID);
    set_mxcsr(DEFAULT);
    passed("compares");
}

typedef float vector4 __attribute__((vector_size(16)));
typedef int integer4 __attribute__((vector_size(16)));
typedef unsigned char byte16 __attribute__((vector_size(16)));

static void check_vectors(void)
{
    vector4 a = { 1, 2, 3, 4 }, b = { 10, 20, 30, 40 };
    vector4 sum = a + b * a;
    CHECK_EQ((int)sum[0], 11);
    CHECK_EQ((int)sum[3], 164);
    integer4 x = { 1, -2, 3, -4 }, y = { 5, 6, 7, 8 };
    integer4 product = x * y, greater = x > 0;
    CHECK_EQ(product[1], -12);
    CHECK_EQ(greater[0], -1);
    CHECK_EQ(greater[1], 0);
    byte16 table, order;
    for (int i = 0; i < 16; i++) {
        table[i] = (unsigned char)(i * 3);
        order[i] = (unsigned char)(i % 5 == 4 ? 0x80 : 15 - i);
    }
    __asm__("pshufb %1, %0" : "+x"(table) : "x"(order));
    for (int i = 0; i < 16; i++)
        CHECK_EQ(table[i], i % 5 == 4 ? 0 : (15 - i) * 3);
    byte16 needle = { 'x', 'y' }, hay = { 'a', 'b', 'x', 'q', 'y' };
    int index;
    __asm__("pcmpistri $0, %2, %1" : "=c"(index) : "x"(needle), "x"(hay) : "cc");
    CHECK_EQ(index, 2);
    byte16 bytes = { 250, 250 }, more = { 10, 3 };
    __asm__("paddusb %1, %0" : "+x"(bytes) : "x"(more));
    CHECK_EQ(bytes[0], 255);
    CHECK_EQ(bytes[1], 253);
    passed("vectors");
}

static void divide_by_zero(void *unused)
{
    (void)unused;
    divide(1, 0);
}

static void check_unmasked(void)
{
    catch_faults();
    set_mxcsr(DEFAULT & ~(DIVIDE << 7));
    fault f = fault_of(divide_by_zero, NULL);
    set_mxcsr(DEFAULT);
    CHECK_EQ(f.signal, SIGFPE);
    CHECK_EQ(f.code, FPE_FLTDIV);
    passed("unmasked exception");
}

static double series_pi(int terms)
{
    double sum = 0;
    for (int i = terms; i-- > 0;)
        sum += (i & 1 ? -4.0 : 4.0) / (2 * i + 1);
    return sum;
}

static void check_x87(void)
{
    long double third = 1.0L;
    volatile long double three = 3.0L;
    third /= three;
    uint64_t mantissa;
    memcpy(&mantissa, &third, 8);
    CHECK_EQ(mantissa, 0xaaaaaaaaaaaaaaab);
    double root, sine, one = 1.0;
    __asm__("fldl %1\n\tfadd %%st(0)\n\tfsqrt\n\tfstpl %0" : "=m"(root) : "m"(one));
    CHECK_EQ(bits(root), 0x3ff6a09e667f3bcd);
    __asm__("fldpi\n\tfldl %1\n\tfadd %%st(0)\n\tfdivrp\n\tfsin\n\tfstpl %0" : "=m"(sine) : "m"(one));
    CHECK_EQ(bits(sine), 0x3ff0000000000000);
    int rounded;
    double value = 2.5;
    __asm__("fldl %1\n\tfistpl %0" : "=m"(rounded) : "m"(value));
    CHECK_EQ(rounded, 2);
    unsigned char decimal[10];
    double amount = 123456789.0;
    __asm__("fldl %1\n\tfbstp %0" : "=m"(decimal) : "m"(amount));
    CHECK_EQ(decimal[0], 0x89);
    CHECK_EQ(decimal[4], 0x01);
    passed("x87");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_arithmetic();
    check_rounding();
    check_conversions();
    check_compares();
    check_vectors();
    check_unmasked();
    check_x87();
    print("pi by series %016lx\n", bits(series_pi(20000)));
    return report();
}

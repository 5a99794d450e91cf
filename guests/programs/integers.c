// Integer, bit, 128-bit and string instructions against values worked out by hand or by another route.
#include "guest.h"
#include "guest/signals.h"

typedef unsigned __int128 wide;

static uint64_t opaque(uint64_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

static void check_arithmetic(void)
{
    uint64_t a = opaque(0xfedcba9876543210), b = opaque(0x0123456789abcdef);
    CHECK_EQ(a + b, -1);
    CHECK_EQ((uint32_t)a * (uint64_t)(uint32_t)b, 0x76543210l * 0x89abcdefl);
    wide product = (wide)a * b;
    CHECK_EQ((uint64_t)(product >> 64), 0x121fa00ad77d742);
    CHECK_EQ((uint64_t)product, 0x2236d88fe5618cf0);
    CHECK_EQ((int64_t)opaque(-7) / (int64_t)opaque(2), -3);
    CHECK_EQ((int64_t)opaque(-7) % (int64_t)opaque(2), -1);
    CHECK_EQ((int8_t)opaque(0x80) >> 1, -64);

    wide n = ((wide)1 << 100) + 12345, d = ((wide)1 << 65) + 7;
    wide q = n / (wide)opaque(1000003);
    CHECK_EQ((uint64_t)(n - q * 1000003), (uint64_t)(n % 1000003));
    CHECK(n == n / 1000003 * 1000003 + n % 1000003);
    CHECK(((d << 3) >> 3) == d);

    uint64_t low = opaque(~0ul), high = opaque(0), carry;
    __asm__("add $1, %0\n\tadc $0, %1\n\tsetc %b2" : "+r"(low), "+r"(high), "=q"(carry) : : "cc");
    CHECK_EQ(low, 0);
    CHECK_EQ(high, 1);
    __asm__("sub $1, %0\n\tsbb $0, %1" : "+r"(low), "+r"(high) : : "cc");
    CHECK_EQ(low, -1);
    CHECK_EQ(high, 0);
    passed("arithmetic");
}

static void check_flags(void)
{
    // ADD of every byte pair: the six status flags as SDM vol. 1, 3.4.3.1 defines them.
    for (unsigned x = 0; x < 256; x += 5) {
        for (unsigned y = 0; y < 256; y += 3) {
            uint8_t sum = (uint8_t)x;
            uint64_t flags;
            __asm__("addb %b2, %b0\n\tpushfq\n\tpopq %1" : "+q"(sum), "=r"(flags) : "q"((uint8_t)y) : "cc", "memory");
            uint8_t want = (uint8_t)(x + y);
            unsigned expected = (x + y > 255) | (!__builtin_parity(want) << 2) | (((x ^ y ^ want) & 16) ? 16 : 0)
                              | (want == 0) << 6 | (want >> 7) << 7 | ((((x ^ want) & (y ^ want)) >> 7 & 1) << 11);
            if (!CHECK_EQ(sum, want) || !CHECK_EQ(flags & 0x8d5, expected))
                return;
        }
    }
    uint64_t flags;
    __asm__("xor %%eax, %%eax\n\tstc\n\tinc %%eax\n\tpushfq\n\tpop %0" : "=r"(flags) : : "rax", "cc", "memory");
    CHECK_EQ(flags & 1, 1);
    __asm__("mov $0xd5, %%ah\n\tsahf\n\tlahf\n\tmovzbl %%ah, %%eax" : "=a"(flags) : : "cc");
    CHECK_EQ(flags & 0xff, 0xd7);
    passed("flags");
}

static void check_bits(void)
{
    uint64_t v = opaque(0x00f0000000000100), r;
    CHECK_EQ(__builtin_ctzl(v), 8);
    CHECK_EQ(__builtin_clzl(v), 8);
    CHECK_EQ(__builtin_bswap64(v), 0x000100000000f000);
    CHECK_EQ(__builtin_popcountl(v), 5);
    __asm__("popcnt %1, %0" : "=r"(r) : "r"(v));
    CHECK_EQ(r, 5);
    __asm__("rol $12, %0" : "=r"(r) : "0"(v));
    CHECK_EQ(r, 0x000000000010000f);
    __asm__("shld $16, %2, %0" : "=r"(r) : "0"(v), "r"(0xabcdefff00000000));
    CHECK_EQ(r, 0x000000000100abcd);

    uint64_t field[4] = { 0 };
    uint8_t carry;
    long far_bit = opaque(3 * 64 + 5);
    __asm__("btsq %2, %0\n\tsetc %1" : "+m"(field), "=q"(carry) : "r"(far_bit) : "cc", "memory");
    CHECK_EQ(carry, 0);
    CHECK_EQ(field[3], 32);
    __asm__("btrq %2, %0\n\tsetc %1" : "+m"(field), "=q"(carry) : "r"(far_bit) : "cc", "memory");
    CHECK_EQ(carry, 1);
    CHECK_EQ(field[3], 0);
    long back = opaque(-1);
    __asm__("btcq %1, %0" : "+m"(field[2]) : "r"(back) : "cc", "memory");
    CHECK_EQ(field[1], 1l << 63);

    uint64_t old = 5, value = 5, fresh = 9;
    __asm__("cmpxchg %2, %0" : "+m"(value), "+a"(old) : "r"(fresh) : "cc");
    CHECK_EQ(value, 9);
    __asm__("xadd %1, %0" : "+m"(value), "+r"(fresh) : : "cc");
    CHECK_EQ(value, 18);
    CHECK_EQ(fresh, 9);
    uint32_t partial = 0xffffffff;
    uint64_t whole = ~0ul;
    __asm__("movl %1, %k0" : "+r"(whole) : "r"(partial));
    CHECK_EQ(whole, 0xffffffff);
    passed("bits");
}

static void check_strings(void)
{
    char a[300], b[300];
    for (int i = 0; i < 300; i++)
        a[i] = (char)(i * 7 + 3);
    memset(b, 0x55, sizeof b);
    memcpy(b, a, 299);
    CHECK_EQ(memcmp(a, b, 299), 0);
    CHECK_EQ(b[299], 0x55);
    memmove(b + 3, b, 200);
    CHECK_EQ(memcmp(b + 3, a, 200), 0);
    memcpy(b, a, 299);
    memmove(b, b + 5, 200);
    CHECK_EQ(memcmp(b, a + 5, 200), 0);

    uint64_t quads[8], *to = quads;
    long count = 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0x1122334455667788) : "memory");
    CHECK_EQ(to - quads, 8);
    CHECK_EQ(quads[7], 0x1122334455667788);
    const char *text = "find the Needle";
    long left = 100;
    __asm__ volatile("repne scasb" : "+D"(text), "+c"(left) : "a"('N') : "cc", "memory");
    CHECK_EQ(left, 90);
    CHECK_TEXT(text, "eedle");
    const char *x = "abcdef", *y = "abcXef";
    long same = 6;
    __asm__ volatile("repe cmpsb" : "+S"(x), "+D"(y), "+c"(same) : : "cc", "memory");
    CHECK_EQ(same, 2);
    uint32_t words[3] = { 1, 2, 3 }, loaded;
    uint32_t *from = words + 2;
    __asm__ volatile("std\n\tlodsl\n\tcld" : "+S"(from), "=a"(loaded) : : "memory");
    CHECK_EQ(loaded, 3);
    CHECK_EQ(from - words, 1);
    long none = 0;
    char *unmapped = (char *)8;
    __asm__ volatile("rep movsb" : "+D"(unmapped), "+S"(x), "+c"(none) : : "memory");
    passed("string instructions");
}

// A REP instruction that faults half-way reports how far it came and can go on.
static char *edge;
static uint64_t stopped_at, stopped_left;

static void on_segv(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    struct ucontext *c = context;
    stopped_at = c->uc_mcontext.rdi;
    stopped_left = c->uc_mcontext.rcx;
    CHECK_EQ((char *)info->si_addr - edge, 4096);
    sys(mprotect, edge + PAGE, PAGE, PROT_READ | PROT_WRITE);
}

static void check_restart(void)
{
    edge = map_pages(2 * PAGE, PROT_READ | PROT_WRITE);
    sys(mprotect, edge + PAGE, PAGE, PROT_READ);
    signal_handle(SIGSEGV, on_segv, 0, 0);
    memset(edge + PAGE - 10, 0xaa, 25);
    CHECK_EQ((char *)stopped_at - edge, 4096);
    CHECK_EQ(stopped_left, 15);
    CHECK_EQ((uint8_t)edge[PAGE + 14], 0xaa);
    CHECK_EQ(edge[PAGE + 15], 0);
    signal_set(SIGSEGV, SIG_DFL);
    passed("interrupted string store");
}

static long by_jump_table(int selector, long x)
{
    switch (selector) {
    case 0: return x + 1;
    case 1: return x * 3;
    case 2: return x - 100;
    case 3: return -x;
    case 4: return x << 5;
    case 5: return x / 7;
    case 6: return x ^ 0x55;
    default: return 0;
    }
}

static void check_control(void)
{
    long total = 0;
    for (int i = 0; i < 1000; i++)
        total += by_jump_table((int)opaque((uint64_t)i % 9), i);
    CHECK_EQ(total, 2046198);
    long count = 10, sum = 0;
    __asm__("1: add %1, %0\n\tloop 1b" : "+r"(sum), "+c"(count) : : "cc");
    CHECK_EQ(sum, 55);
    long base = (long)opaque(1000), scaled;
    __asm__("lea 5(%1,%2,8), %0" : "=r"(scaled) : "r"(base), "r"(opaque(3)));
    CHECK_EQ(scaled, 1029);
    long frame;
    __asm__("mov %%rsp, %%r11\n\tsub $256, %%rsp\n\tenter $32, $0\n\tmov %%rbp, %0\n\tleave\n\tmov %%r11, %%rsp" : "=&r"(frame) : : "r11", "memory");
    CHECK(frame != 0);
    passed("control flow");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_arithmetic();
    check_flags();
    check_bits();
    check_strings();
    check_restart();
    check_control();
    return report();
}

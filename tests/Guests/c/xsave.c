// XSAVE and its kin on x87 and SSE state: what they write, what they leave alone, what they restore, what they refuse.
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static unsigned char area[1024] __attribute__((aligned(64)));
static sigjmp_buf back;

static uint64_t word(int offset)
{
    uint64_t value;
    memcpy(&value, area + offset, 8);
    return value;
}

static uint64_t xmm3(void)
{
    uint64_t value;
    __asm__ volatile("movq %%xmm3, %0" : "=r"(value));
    return value;
}

static void set_xmm3(uint64_t value)
{
    __asm__ volatile("movq %0, %%xmm3" ::"r"(value) : "xmm3");
}

#define SAVE(instruction, mask) __asm__ volatile(instruction " %0" : "+m"(area) : "a"(mask), "d"(0))
#define RESTORE(mask) __asm__ volatile("xrstor64 %0" ::"m"(area), "a"(mask), "d"(0) : "xmm3", "memory")

static void refused(int signal)
{
    siglongjmp(back, signal);
}

static void try_restore(const char *what)
{
    int got = sigsetjmp(back, 1);
    if (got == 0)
        RESTORE(3);
    printf("%s: %s\n", what, got == SIGSEGV ? "refused" : "accepted");
}

int main(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    printf("x87 and SSE enabled: %d\n", (low & 3) == 3);

    memset(area, 0xA5, sizeof area);
    memset(area + 512, 0, 64);
    __asm__ volatile("fninit\n\tfldpi");
    set_xmm3(0x1122334455667788);
    SAVE("xsave64", 3);
    uint64_t saved = word(160 + 48);
    printf("xsave: bv %llx comp %llx fcw %llx st0 %llx xmm3 %llx untouched %llx\n", (unsigned long long)word(512), (unsigned long long)word(520),
           (unsigned long long)(word(0) & 0xFFFF), (unsigned long long)word(32), (unsigned long long)saved, (unsigned long long)word(464));

    __asm__ volatile("fninit");
    set_xmm3(0);
    RESTORE(3);
    saved = xmm3();
    long double pi;
    __asm__ volatile("fstpt %0" : "=m"(pi));
    printf("xrstor: xmm3 %llx st0 %.12Lf\n", (unsigned long long)saved, pi);

    // Only what is asked for is written and restored.
    memset(area, 0, sizeof area);
    set_xmm3(42);
    SAVE("xsavec64", 2);
    saved = word(160 + 48);
    printf("xsavec: bv %llx comp %llx fcw %llx xmm3 %llx\n", (unsigned long long)word(512), (unsigned long long)word(520), (unsigned long long)word(0), (unsigned long long)saved);
    memset(area + 512, 0, 8);
    RESTORE(2);
    saved = xmm3();
    printf("xrstor of nothing: xmm3 %llx\n", (unsigned long long)saved);

    signal(SIGSEGV, refused);
    memset(area + 512, 0, 64);
    try_restore("empty header");
    area[512 + 16] = 1;
    try_restore("reserved header byte");
    memset(area + 512, 0, 64);
    area[512 + 7] = 0x40;
    try_restore("component that is not enabled");
    memset(area + 512, 0, 64);
    area[512] = 1, area[512 + 8] = 2, area[512 + 15] = 0x80;
    try_restore("compacted, held but not in the format");
    memset(area + 512, 0, 64);
    area[24] = area[25] = area[26] = 0xFF;
    try_restore("reserved MXCSR bits");
    return 0;
}

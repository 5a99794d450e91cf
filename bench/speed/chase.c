// Each address comes from the one before, over 64 MiB.
#include <stdint.h>
#include <stdio.h>

static uint32_t next[1 << 24];

int main(void)
{
    // A full period linear congruence visits every word once.
    for (uint32_t i = 0; i < 1 << 24; i++)
        next[i] = (i * 1664525u + 1013904223u) & ((1 << 24) - 1);
    uint32_t at = 0;
    for (int i = 0; i < 20000000; i++)
        at = next[at];
    printf("%u\n", at);
    return 0;
}

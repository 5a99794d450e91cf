// Reads and writes all over 64 MiB.
#include <stdint.h>
#include <stdio.h>

static uint32_t words[1 << 24];

int main(void)
{
    uint32_t x = 1, sum = 0;
    for (int i = 0; i < 60000000; i++) {
        x = x * 1664525 + 1013904223;
        sum += words[x >> 8]++;
    }
    printf("%u\n", sum);
    return 0;
}

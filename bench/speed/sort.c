// Quicksort of the library, with its comparisons through a pointer.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    enum { N = 1 << 20 };
    static uint32_t values[N];
    uint32_t x = 12345;
    for (int i = 0; i < N; i++)
        values[i] = x = x * 1664525 + 1013904223;
    qsort(values, N, sizeof *values, compare);
    for (int i = 1; i < N; i++)
        if (values[i - 1] > values[i])
            return 1;
    printf("sorted\n");
    return 0;
}

// Copies of 16 bytes at a time through SSE registers.
#include <emmintrin.h>
#include <stdio.h>

static __m128i a[1 << 18], b[1 << 18];

int main(void)
{
    for (int round = 0; round < 600; round++) {
        for (int i = 0; i < 1 << 18; i += 4) {
            __m128i w = _mm_load_si128(a + i), x = _mm_load_si128(a + i + 1), y = _mm_load_si128(a + i + 2), z = _mm_load_si128(a + i + 3);
            _mm_store_si128(b + i, w), _mm_store_si128(b + i + 1, x), _mm_store_si128(b + i + 2, y), _mm_store_si128(b + i + 3, z);
        }
        __asm__ volatile("" : : : "memory");
    }
    printf("copied\n");
    return 0;
}

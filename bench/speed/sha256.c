// SHA-256 (FIPS 180-4) of 16 MiB: rotations, additions, table reads.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

// The fractional parts of the cube roots of the first 64 primes, and of the square roots of the first 8, computed rather than listed.
static uint32_t k[64], initial[8];

static uint32_t fraction(unsigned prime, int root)
{
    // Bitwise: the largest x with x^root <= prime, in 32 fractional bits.
    unsigned __int128 x = 0;
    for (int bit = 36; bit >= 0; bit--) {
        unsigned __int128 t = x | (unsigned __int128)1 << bit;
        unsigned __int128 limit = (unsigned __int128)prime << (root == 2 ? 64 : 96);
        unsigned __int128 power = root == 2 ? t * t : t * t * t;
        if (power <= limit)
            x = t;
    }
    return (uint32_t)x;
}

static void block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] + (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + t1, s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

int main(void)
{
    for (unsigned prime = 2, n = 0; n < 64; prime++) {
        int is = 1;
        for (unsigned d = 2; d * d <= prime; d++)
            is &= prime % d != 0;
        if (!is)
            continue;
        if (n < 8)
            initial[n] = fraction(prime, 2);
        k[n++] = fraction(prime, 3);
    }
    uint32_t h[8];
    memcpy(h, initial, sizeof h);
    static unsigned char data[1 << 20];
    for (int round = 0; round < 16; round++)
        for (size_t i = 0; i < sizeof data; i += 64)
            block(h, data + i);
    unsigned char last[64] = { 0x80 };
    last[60] = 0x08; // 2^27 bits
    block(h, last);
    for (int i = 0; i < 8; i++)
        printf("%08x", h[i]);
    printf("\n");
    // sha256sum of 16 MiB of zeroes.
    return h[0] != 0x080acf35u;
}

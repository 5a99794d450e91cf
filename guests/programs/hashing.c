// SHA-256, CRC-32, CRC-32C by instruction, and FNV-1a against published vectors: hashing [KIBIBYTES].
#include "guest.h"

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t *state, const unsigned char *block)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        uint32_t word;
        memcpy(&word, block + 4 * i, 4);
        w[i] = __builtin_bswap32(word);
    }
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3)
             + (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    uint32_t s[8];
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6]))
                    + round_constants[i] + w[i];
        uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static const char *sha256(const void *data, size_t count)
{
    static char text[65];
    uint32_t state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    const unsigned char *at = data;
    size_t left = count;
    for (; left >= 64; left -= 64, at += 64)
        sha256_block(state, at);
    unsigned char tail[128] = { 0 };
    memcpy(tail, at, left);
    tail[left] = 0x80;
    size_t blocks = left >= 56 ? 2 : 1;
    uint64_t bits = __builtin_bswap64(count * 8);
    memcpy(tail + blocks * 64 - 8, &bits, 8);
    for (size_t i = 0; i < blocks; i++)
        sha256_block(state, tail + 64 * i);
    for (int i = 0; i < 8; i++)
        format_into(text + 8 * i, 9, "%08x", state[i]);
    return text;
}

static uint32_t crc32(const void *data, size_t count)
{
    uint32_t crc = ~0u;
    for (const unsigned char *at = data; count--; at++) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static uint32_t crc32c(const void *data, size_t count)
{
    uint64_t crc = 0xffffffff;
    const unsigned char *at = data;
    for (; count >= 8; count -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        __asm__("crc32q %1, %0" : "+r"(crc) : "rm"(word));
    }
    for (; count; count--, at++)
        __asm__("crc32b %1, %k0" : "+r"(crc) : "rm"(*at));
    return ~(uint32_t)crc;
}

static uint64_t fnv1a(const void *data, size_t count)
{
    uint64_t hash = 14695981039346656037ul;
    for (const unsigned char *at = data; count--; at++)
        hash = (hash ^ *at) * 1099511628211ul;
    return hash;
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    static const char long_text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    CHECK_TEXT(sha256("", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_TEXT(sha256("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_TEXT(sha256(long_text, 56), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    passed("sha256");
    CHECK_EQ(crc32("123456789", 9), 0xcbf43926);
    CHECK_EQ(crc32c("123456789", 9), 0xe3069283);
    passed("crc32");
    CHECK_EQ(fnv1a("", 0), 0xcbf29ce484222325);
    CHECK_EQ(fnv1a("a", 1), 0xaf63dc4c8601ec8c);
    CHECK_EQ(fnv1a("foobar", 6), 0x85944171f73967e8);
    passed("fnv1a");

    size_t bytes = (size_t)arg_number(argc, argv, 1, 32) << 10;
    unsigned char *data = allocate(bytes);
    uint64_t state = 88172645463325252ul;
    for (size_t i = 0; i < bytes; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data[i] = (unsigned char)state;
    }
    print("sha256 %s\ncrc32 %08x crc32c %08x fnv1a %016lx\n", sha256(data, bytes), crc32(data, bytes), crc32c(data, bytes),
          fnv1a(data, bytes));
    release(data);
    return report();
}

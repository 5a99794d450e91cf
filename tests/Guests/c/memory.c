// malloc, realloc, calloc and free under a random load; every block keeps its pattern.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 400, ROUNDS = 12000 };

static struct { unsigned char *at; size_t size; unsigned char pattern; } blocks[BLOCKS];
static uint32_t state = 12345;

static uint32_t next(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static long verify(int i, size_t size)
{
    long wrong = 0;
    for (size_t j = 0; j < size; j += 97)
        wrong += blocks[i].at[j] != blocks[i].pattern;
    return wrong;
}

int main(void)
{
    long wrong = 0;
    uint64_t total = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int i = (int)(next() % BLOCKS);
        size_t size = next() % 100 == 0 ? next() % 300000 + 1 : next() % 2000 + 1;
        if (!blocks[i].at) {
            blocks[i].at = next() % 2 ? malloc(size) : calloc(1, size);
        } else if (next() % 3) {
            size_t old = blocks[i].size;
            wrong += verify(i, old);
            blocks[i].at = realloc(blocks[i].at, size);
            wrong += verify(i, old < size ? old : size);
        } else {
            wrong += verify(i, blocks[i].size);
            free(blocks[i].at);
            blocks[i].at = NULL;
            continue;
        }
        wrong += (uintptr_t)blocks[i].at % 16 != 0;
        blocks[i].size = size;
        blocks[i].pattern = (unsigned char)next();
        memset(blocks[i].at, blocks[i].pattern, size);
        total += size;
    }
    for (int i = 0; i < BLOCKS; i++) {
        if (blocks[i].at)
            wrong += verify(i, blocks[i].size);
        free(blocks[i].at);
    }
    printf("%d rounds, %llu bytes, %ld wrong\n", ROUNDS, (unsigned long long)total, wrong);
    void *huge = malloc(64 << 20);
    if (huge)
        memset(huge, 1, 64 << 20);
    free(huge);
    puts(huge ? "large block" : "no large block");
    return wrong != 0;
}

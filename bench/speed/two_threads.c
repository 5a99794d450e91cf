// The work of one or two threads, each on data of its own: what a second vCPU is worth.
// usage: two_threads 1|2
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 4096, ROUNDS = 20000 };

static void *work(void *seed)
{
    uint32_t *words = malloc(WORDS * sizeof *words), x = (uint32_t)(uintptr_t)seed;
    for (int i = 0; i < WORDS; i++)
        words[i] = x = x * 1664525 + 1013904223;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < WORDS; i++) {
            x ^= words[(x ^ i) % WORDS];
            x = x << 7 | x >> 25;
            words[i] += x;
        }
    free(words);
    return (void *)(uintptr_t)x;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 2;
    pthread_t threads[2];
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], 0, work, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        printf("%08x\n", (uint32_t)(uintptr_t)result);
    }
    return 0;
}

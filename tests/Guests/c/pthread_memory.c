// Threads that map, share, protect, move, drop and fork memory at the same time, each checking its own pages.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, THREADS = 6, ROUNDS = 150 };

static int wrong;

#define CHECK(what) ((what) ? (void)0 : (void)__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED))

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static int child_sees(unsigned char *pages, int count, unsigned char tag, int shared)
{
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < count; i++) {
            if (pages[i * PAGE] != tag)
                _exit(1);
            if (!shared)
                pages[i * PAGE] = 99;
        }
        _exit(0);
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
}

static void *work(void *argument)
{
    uint64_t state = (uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t r = next(&state);
        int count = 1 + (r >> 8) % 16, shared = r >> 5 & 1;
        unsigned char tag = (unsigned char)(r >> 32 | 1);
        unsigned char *pages = mmap(0, count * PAGE, PROT_READ | PROT_WRITE, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
        CHECK(pages != MAP_FAILED);
        for (int i = 0; i < count; i++) {
            CHECK(pages[i * PAGE] == 0 && pages[i * PAGE + PAGE - 1] == 0);
            pages[i * PAGE] = pages[i * PAGE + PAGE - 1] = tag;
        }
        if ((r >> 9) % 4 == 0)
            CHECK(child_sees(pages, count, tag, shared));
        if ((r >> 13) % 3 == 0) {
            CHECK(mprotect(pages, count * PAGE, PROT_READ) == 0);
            CHECK(mprotect(pages, count * PAGE, PROT_READ | PROT_WRITE) == 0);
        }
        if ((r >> 17) % 3 == 0 && !shared) {
            pages = mremap(pages, count * PAGE, (count + 3) * PAGE, MREMAP_MAYMOVE);
            CHECK(pages != MAP_FAILED);
            for (int end = count + 3; count < end; count++) {
                CHECK(pages[count * PAGE] == 0);
                pages[count * PAGE] = tag;
            }
        }
        for (int i = 0; i < count; i++)
            CHECK(pages[i * PAGE] == tag);
        if ((r >> 21) % 3 == 0 && !shared) {
            CHECK(madvise(pages, count * PAGE, MADV_DONTNEED) == 0);
            for (int i = 0; i < count; i++)
                CHECK(pages[i * PAGE] == 0);
        }
        CHECK(munmap(pages, count * PAGE) == 0);
    }
    return 0;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, work, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    printf("%d wrong\n", wrong);
    return wrong != 0;
}

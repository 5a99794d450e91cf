/* Transparent huge pages must not show, except in figures and in the errors of MADV_COLLAPSE. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define H (2UL << 20)
#define P 4096UL
#define RW (PROT_READ | PROT_WRITE)

static const char *name_of(int e) { return e == EINVAL ? "EINVAL" : e == ENOMEM ? "ENOMEM" : e == EAGAIN ? "EAGAIN" : e == 0 ? "" : strerror(e); }
static void show(const char *what, long r) { printf("%-52s %ld %s\n", what, r < 0 ? -1 : r, r < 0 ? name_of(errno) : ""); }
#define T(call) do { errno = 0; show(#call, (long)(call)); } while (0)

/* An aligned range with room on both sides. */
static char *area(unsigned long huge)
{
    char *raw = mmap(0, (huge + 2) * H, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *at = (char *)(((uintptr_t)raw + H - 1) & ~(H - 1));
    return mmap(at, huge * H, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static unsigned long sum(const char *p, unsigned long length)
{
    unsigned long s = 0;
    for (unsigned long i = 0; i < length; i += 512)
        s = s * 31 + (unsigned char)p[i];
    return s;
}

static void fill(char *p, unsigned long length, int seed)
{
    for (unsigned long i = 0; i < length; i += 512)
        p[i] = (char)(i / 512 * 7 + seed);
}

static void errors(void)
{
    char *p = area(2);
    T(madvise(p, H, MADV_COLLAPSE));
    p[0] = 1;
    T(madvise(p + P, P, MADV_COLLAPSE));
    T(madvise(p + P, H, MADV_COLLAPSE));
    T(madvise(p, P, MADV_COLLAPSE));
    T(madvise(p, 0, MADV_COLLAPSE));
    T(madvise(p + 1, H, MADV_COLLAPSE));
    T(madvise(p, H, MADV_NOHUGEPAGE));
    T(madvise(p, H, MADV_COLLAPSE));
    T(munmap(p, 2 * H));
    T(madvise(p, H, MADV_COLLAPSE));
    T(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    T(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    T(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    T(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
}

static void contents(void)
{
    char *p = area(4);
    T(madvise(p, 4 * H, MADV_HUGEPAGE));
    fill(p, 4 * H, 1);
    printf("%lx\n", sum(p, 4 * H));
    T(munmap(p + H / 2, P));
    T(mmap(p + H / 2, P, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + H / 2);
    T(mprotect(p + H + 3 * P, 5 * P, PROT_READ));
    T(madvise(p + 2 * H + 7 * P, 9 * P, MADV_DONTNEED));
    printf("%lx\n", sum(p, 4 * H));
    T(mremap(p + 3 * H, H, H, MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * H) == p + 2 * H);
    printf("%lx\n", sum(p, 3 * H));
    T(mremap(p + 2 * H, H / 2, H / 2, MREMAP_MAYMOVE | MREMAP_FIXED, p + 3 * H + P) == p + 3 * H + P);
    printf("%lx\n", sum(p + 3 * H + P, H / 2));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        fill(p + P, 3 * P, 9);
        printf("child %lx\n", sum(p, H));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    p[5 * P] = 3;
    printf("parent %lx\n", sum(p, H));
    madvise(p, H, MADV_COLLAPSE);
    printf("after collapse %lx\n", sum(p, H));
    child = fork();
    if (!child) {
        madvise(p, H, MADV_COLLAPSE);
        fill(p, P, 4);
        printf("child %lx\n", sum(p, H));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    printf("parent %lx\n", sum(p, H));
    unsigned char vec[512];
    T(mincore(p, H, vec));
    int n = 0;
    for (int i = 0; i < 512; i++)
        n += vec[i] & 1;
    printf("%d pages\n", n);
}

static char *shared;
static volatile int stop;
static int bad;

static void *writer(void *arg)
{
    unsigned long mine = (unsigned long)arg, n = 0;
    volatile unsigned long *last = calloc(512, sizeof *last);
    while (!stop) {
        unsigned long page = (n * 37 + mine) % 512;
        volatile unsigned long *p = (volatile unsigned long *)(shared + page * P) + mine;
        if (*p != last[page])
            __sync_fetch_and_add(&bad, 1);
        *p = last[page] = ++n;
    }
    free((void *)last);
    return 0;
}

/* Threads write while the leaf is split by mprotect, collapsed, shared by fork and copied. */
static void parallel(void)
{
    shared = area(1);
    madvise(shared, H, MADV_HUGEPAGE);
    shared[0] = 0;
    pthread_t t[3];
    for (unsigned long i = 0; i < 3; i++)
        pthread_create(t + i, 0, writer, (void *)i);
    for (int i = 0; i < 60; i++) {
        mprotect(shared + (i % 512) * P, P, RW | PROT_EXEC);
        madvise(shared, H, MADV_COLLAPSE);
        if (i % 8 == 0) {
            pid_t child = fork();
            if (!child)
                _exit(0);
            waitpid(child, 0, 0);
        }
        mprotect(shared, H, RW);
        madvise(shared, H, MADV_COLLAPSE);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], 0);
    printf("lost writes: %d\n", bad);
}

/* A kilobyte figure of the mapping at p in smaps. */
static long figure(const char *p, const char *name)
{
    char line[256], head[32];
    long value = -1;
    int found = 0;
    FILE *f = fopen("/proc/self/smaps", "r");
    snprintf(head, sizeof head, "%lx-", (unsigned long)p);
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, head, strlen(head)) == 0)
            found = 1;
        if (found && strncmp(line, name, strlen(name)) == 0) {
            value = atol(line + strlen(name));
            break;
        }
    }
    if (f)
        fclose(f);
    return value;
}

static void show_figures(const char *what, const char *p)
{
    /* Single pages become lazily free a batch at a time, whole huge pages at once. */
    long huge = figure(p, "AnonHugePages:");
    printf("%s: Rss %ld AnonHugePages %ld", what, figure(p, "Rss:"), huge);
    if (huge == 3 * (long)(H >> 10))
        printf(" LazyFree %ld", figure(p, "LazyFree:"));
    printf("\n");
}

/* MADV_FREE of huge pages: whole ones stay, a part splits. */
static void freed(void)
{
    char *p = area(3);
    T(madvise(p, 3 * H, MADV_HUGEPAGE));
    fill(p, 3 * H, 5);
    show_figures("written", p);
    unsigned long before = sum(p, 3 * H);
    T(madvise(p, H, MADV_FREE));
    show_figures("one freed", p);
    fill(p, H, 5);
    show_figures("and written again", p);
    printf("same: %d\n", sum(p, 3 * H) == before);
    T(madvise(p + H + 16 * P, 32 * P, MADV_FREE));
    show_figures("a part freed", p);
    fill(p + H, H, (int)(H / 512 * 7) + 5);
    printf("same: %d\n", sum(p, 3 * H) == before);
    T(madvise(p, 3 * H, MADV_FREE));
    show_figures("all freed", p);
    T(munmap(p, 3 * H));
}

int main(void)
{
    errors();
    contents();
    freed();
    parallel();
    return 0;
}

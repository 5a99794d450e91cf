// Threads change mappings of every kind and fork, each in its own area, while pages are moved under all of them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 32, THREADS = 4, STEPS = 500 };

static char *area;
static int file;
static atomic_int running, wrong;

static unsigned next(unsigned *state)
{
    *state = *state * 1103515245 + 12345;
    return *state >> 16;
}

// What a thread believes of its pages: the value of each, and whether it may be read and written.
struct belief {
    unsigned char value[PAGES], mapped[PAGES], writable[PAGES];
};

static void check(const char *base, const struct belief *b)
{
    for (int i = 0; i < PAGES; i++)
        if (b->mapped[i] && (unsigned char)base[i * PAGE] != b->value[i])
            wrong++;
}

static void *churn(void *argument)
{
    long self = (long)argument;
    unsigned state = (unsigned)self + 1;
    char *base = area + self * PAGES * PAGE;
    struct belief b;
    memset(&b, 0, sizeof b);
    for (int step = 0; step < STEPS; step++) {
        int at = (int)(next(&state) % PAGES), n = 1 + (int)(next(&state) % 6);
        if (at + n > PAGES)
            n = PAGES - at;
        char *p = base + at * PAGE;
        switch (next(&state) % 8) {
        case 0:
            mmap(p, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            memset(b.value + at, 0, (size_t)n), memset(b.mapped + at, 1, (size_t)n), memset(b.writable + at, 1, (size_t)n);
            break;
        case 1:
            // Each thread has its own part of the file, whose pages begin with zero and are never written by anybody.
            mmap(p, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, (self * PAGES + at) * PAGE);
            memset(b.value + at, 0, (size_t)n), memset(b.mapped + at, 1, (size_t)n), memset(b.writable + at, 1, (size_t)n);
            break;
        case 2:
            munmap(p, (size_t)n * PAGE);
            // The area stays ours: another thread's mapping must not come here.
            mmap(p, (size_t)n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            memset(b.mapped + at, 0, (size_t)n), memset(b.writable + at, 0, (size_t)n);
            break;
        case 3: {
            int writable = next(&state) & 1;
            for (int i = at; i < at + n; i++)
                if (b.mapped[i] && mprotect(base + i * PAGE, PAGE, writable ? PROT_READ | PROT_WRITE : PROT_READ) == 0)
                    b.writable[i] = (unsigned char)writable;
            break;
        }
        case 4: {
            int to = (int)(next(&state) % PAGES);
            if (!b.mapped[at] || to == at)
                break;
            if (mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + to * PAGE) == MAP_FAILED)
                wrong++;
            mmap(p, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            b.value[to] = b.value[at], b.mapped[to] = 1, b.writable[to] = b.writable[at];
            b.mapped[at] = b.writable[at] = 0;
            break;
        }
        case 5:
            if (step % 16)
                break;
            pid_t child = fork();
            if (child == 0) {
                check(base, &b);
                for (int i = 0; i < PAGES; i++)
                    if (b.writable[i])
                        base[i * PAGE] = 77;
                _exit(wrong != 0);
            }
            int status;
            if (child > 0 && (waitpid(child, &status, 0) != child || status != 0))
                wrong++;
            break;
        default:
            for (int i = at; i < at + n; i++)
                if (b.writable[i])
                    base[i * PAGE] = (char)(b.value[i] = (unsigned char)next(&state));
        }
        check(base, &b);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

int main(void)
{
    file = memfd_create("pages", 0);
    if (ftruncate(file, THREADS * PAGES * PAGE))
        return 1;
    area = mmap(NULL, THREADS * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t threads[THREADS];
    running = THREADS;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, churn, (void *)i);
    int compact = open("/proc/sys/vm/compact_memory", O_WRONLY);
    while (atomic_load(&running) > 0)
        if (compact < 0 || write(compact, "1", 1) != 1)
            usleep(1000);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("wrong %d\n", wrong);
    return 0;
}

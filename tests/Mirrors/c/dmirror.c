/* A program for the kernel's lib/test_hmm.c and an ordinary C library: the device reads, writes, describes, takes, gives back and owns our memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The header is part of the kernel's sources, not of what it installs: given with -I it is used as it is, else its numbers are said here. */
#if __has_include(<test_hmm_uapi.h>)
#include <test_hmm_uapi.h>
#else
struct hmm_dmirror_cmd {
    uint64_t addr, ptr, npages, cpages, faults;
};
#define HMM_DMIRROR_READ            _IOWR('H', 0x00, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_WRITE           _IOWR('H', 0x01, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_MIGRATE_TO_DEV  _IOWR('H', 0x02, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_MIGRATE_TO_SYS  _IOWR('H', 0x03, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_SNAPSHOT        _IOWR('H', 0x04, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_EXCLUSIVE       _IOWR('H', 0x05, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_CHECK_EXCLUSIVE _IOWR('H', 0x06, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_RELEASE         _IOWR('H', 0x07, struct hmm_dmirror_cmd)
enum {
    HMM_DMIRROR_PROT_ERROR = 0xff, HMM_DMIRROR_PROT_NONE = 0, HMM_DMIRROR_PROT_READ = 1, HMM_DMIRROR_PROT_WRITE = 2,
    HMM_DMIRROR_PROT_ZERO = 0x10, HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL = 0x20,
};
#endif

enum { PAGES = 96, PAGE = 4096, SIZE = PAGES * PAGE, WORDS = SIZE / sizeof(int) };

static int device, other;
static int *memory, *mirror;    /* ours, and where the device's view of it goes */
static struct hmm_dmirror_cmd last;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s: errno %d, cpages %llu, faults %llu\n", __LINE__, #condition, errno, \
                (unsigned long long)last.cpages, (unsigned long long)last.faults); \
            exit(1); \
        } \
    } while (0)

static int command(int fd, unsigned long request, void *address, void *buffer, unsigned long pages)
{
    last = (struct hmm_dmirror_cmd){.addr = (uintptr_t)address, .ptr = (uintptr_t)buffer, .npages = pages};
    return ioctl(fd, request, &last) ? errno : 0;
}

static void fill(int *words, int start)
{
    for (int i = 0; i < WORDS; i++)
        words[i] = start + i;
}

static int filled(const int *words, int start)
{
    for (int i = 0; i < WORDS; i++)
        if (words[i] != start + i)
            return 0;
    return 1;
}

static int snapshot(int fd, int page, unsigned char expected)
{
    unsigned char seen = 0xee;
    CHECK(command(fd, HMM_DMIRROR_SNAPSHOT, (char *)memory + page * PAGE, &seen, 1) == 0 && last.cpages == 1);
    return seen == expected;
}

static void fresh(void)
{
    CHECK(mmap(memory, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
    memset(mirror, 0, SIZE);
}

static void reads_and_writes(void)
{
    fresh();
    CHECK(snapshot(device, 0, HMM_DMIRROR_PROT_NONE) || snapshot(device, 0, HMM_DMIRROR_PROT_ERROR));
    CHECK(*(volatile int *)memory == 0 && snapshot(device, 0, HMM_DMIRROR_PROT_ZERO | HMM_DMIRROR_PROT_READ));
    fill(memory, 1);
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, PAGES) == 0);
    CHECK(last.cpages == PAGES && last.faults == 1 && filled(mirror, 1));
    CHECK(snapshot(device, 1, HMM_DMIRROR_PROT_WRITE));

    fill(mirror, 1000);
    CHECK(command(device, HMM_DMIRROR_WRITE, memory, mirror, PAGES) == 0);
    CHECK(last.cpages == PAGES && filled(memory, 1000));

    /* What is unmapped and mapped anew is not what the device remembers. */
    fresh();
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, PAGES) == 0 && last.faults == 1 && mirror[0] == 0 && mirror[WORDS - 1] == 0);
    puts("read, write, snapshot");
}

static void refusals(void)
{
    fresh();
    fill(memory, 5);
    CHECK(mprotect(memory, SIZE, PROT_READ) == 0);
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, PAGES) == 0 && filled(mirror, 5));
    CHECK(command(device, HMM_DMIRROR_WRITE, memory, mirror, PAGES) == EPERM);
    CHECK(snapshot(device, 0, HMM_DMIRROR_PROT_READ));
    CHECK(mprotect(memory, SIZE, PROT_NONE) == 0);
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, PAGES) == EFAULT && filled(mirror, 5));
    CHECK(command(device, HMM_DMIRROR_MIGRATE_TO_DEV, memory, mirror, PAGES) == EINVAL);
    CHECK(command(device, HMM_DMIRROR_READ, (char *)memory + 1, mirror, 1) == EINVAL);
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, 0) == EINVAL);
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, -1ul >> 12) == EINVAL);
    CHECK(command(device, _IOWR('H', 0x20, struct hmm_dmirror_cmd), memory, mirror, 1) == EINVAL);
    CHECK(ioctl(device, HMM_DMIRROR_READ, NULL) == -1 && errno == EFAULT);
    CHECK(mprotect(memory, SIZE, PROT_READ | PROT_WRITE) == 0);
    CHECK(command(device, HMM_DMIRROR_READ, memory, NULL, 1) == EFAULT);
    CHECK(command(device, HMM_DMIRROR_MIGRATE_TO_SYS, memory, mirror, PAGES) == 0 && last.cpages == 0);
    puts("refusals");
}

static void there_and_back(void)
{
    fresh();
    fill(memory, 20);
    CHECK(command(device, HMM_DMIRROR_MIGRATE_TO_DEV, memory, mirror, PAGES) == 0);
    CHECK(last.cpages == PAGES && filled(mirror, 20));
    CHECK(snapshot(device, 3, HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | HMM_DMIRROR_PROT_WRITE));
    CHECK(snapshot(other, 3, HMM_DMIRROR_PROT_NONE));
    CHECK(command(other, HMM_DMIRROR_MIGRATE_TO_DEV, memory, mirror, PAGES) == ENOENT);

    fill(mirror, 30);
    CHECK(command(device, HMM_DMIRROR_WRITE, memory, mirror, PAGES) == 0);
    CHECK(snapshot(device, 3, HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | HMM_DMIRROR_PROT_WRITE));
    CHECK(command(device, HMM_DMIRROR_MIGRATE_TO_SYS, memory, mirror, PAGES) == 0 && last.cpages == PAGES);
    CHECK(snapshot(device, 3, HMM_DMIRROR_PROT_WRITE) && filled(memory, 30));

    /* A processor's access brings pages back by itself, a fork's child finds them too. */
    CHECK(command(device, HMM_DMIRROR_MIGRATE_TO_DEV, memory, mirror, PAGES) == 0 && last.cpages == PAGES);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (!filled(memory, 30))
            _exit(1);
        fill(memory, 99);
        _exit(filled(memory, 99) ? 0 : 2);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(filled(memory, 30) && snapshot(device, 3, HMM_DMIRROR_PROT_READ));  /* shared with the child until one writes */
    puts("there and back");
}

static void *add(void *word)
{
    for (int i = 0; i < 300; i++)
        __atomic_fetch_add((int *)word, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void pages_that_threads_use(void)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    fresh();
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, add, &memory[i % 2 * PAGE / (int)sizeof(int)]) == 0);
    for (int i = 0; i < 20; i++) {
        int error = command(device, HMM_DMIRROR_MIGRATE_TO_DEV, memory, mirror, 2);
        CHECK(error == 0 || error == ENOENT);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(memory[0] == 600 && memory[PAGE / sizeof(int)] == 600);
    puts("pages that threads use");
}

static void exclusive(void)
{
    fresh();
    fill(memory, 40);
    CHECK(command(device, HMM_DMIRROR_EXCLUSIVE, memory, mirror, PAGES) == 0 && last.cpages == PAGES && filled(mirror, 40));
    CHECK(command(device, HMM_DMIRROR_CHECK_EXCLUSIVE, memory, mirror, PAGES) == EPERM);
    fill(memory, 41);
    CHECK(command(device, HMM_DMIRROR_CHECK_EXCLUSIVE, memory, mirror, PAGES) == 0);
    CHECK(command(device, HMM_DMIRROR_READ, memory, mirror, PAGES) == 0 && filled(mirror, 41));
    puts("exclusive");
}

static void release(void)
{
    fresh();
    fill(memory, 50);
    CHECK(command(other, HMM_DMIRROR_MIGRATE_TO_DEV, memory, mirror, PAGES) == 0 && last.cpages == PAGES);
    CHECK(command(other, HMM_DMIRROR_RELEASE, memory, mirror, PAGES) == 0);
    CHECK(filled(memory, 50));
    puts("release");
}

int main(void)
{
    device = open("/dev/hmm_dmirror0", O_RDWR);
    other = open("/dev/hmm_dmirror1", O_RDWR);
    CHECK(device >= 0 && other >= 0);
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK((mirror = malloc(SIZE)) != NULL);
    reads_and_writes();
    refusals();
    there_and_back();
    pages_that_threads_use();
    exclusive();
    release();
    CHECK(close(device) == 0 && close(other) == 0);
    puts("all passed");
    return 0;
}

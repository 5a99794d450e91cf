// Random memory system calls in a small window, by fixed seeds: every result, the window's layout and its contents are printed
// as digests, so that a kernel that answers one call differently shows in the seed's line. Give a seed to see the calls.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096L
#define PAGES 48
#define BASE 0x100000000000L
#define FILE_PAGES 24

static uint64_t state, digest;
static int verbose, file, readonly_file, other;
static sigjmp_buf landing;
static volatile int fault;

static uint32_t next(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

static void mix(uint64_t value)
{
    digest = (digest ^ value) * 0x100000001b3u;
    digest ^= digest >> 29;
}

static void handler(int number, siginfo_t *info, void *context)
{
    (void)context;
    fault = number * 100 + info->si_code;
    siglongjmp(landing, 1);
}

static void result(const char *what, long value)
{
    long shown = value == -1 ? -errno : value >= BASE && value < BASE + 64 * PAGES * PAGE ? value - BASE : value;
    mix((uint64_t)shown);
    if (verbose)
        printf("  %s -> %ld\n", what, shown);
}

static long address(void)
{
    long a = BASE + next(PAGES) * PAGE;
    return next(24) ? a : a + next(2) * 8 + 1;
}

static long length(void)
{
    switch (next(40)) {
    case 0: return 0;
    case 1: return PAGE / 2;
    case 2: return -PAGE;
    case 3: return 1L << 46;
    default: return (1 + next(12)) * PAGE;
    }
}

static int protection(void)
{
    static const int all[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC, PROT_WRITE, PROT_READ };
    // PROT_EXEC alone is left out: with protection keys it cannot be read.
    return all[next(8)];
}

static void map(void)
{
    long a = address(), n = length();
    int p = protection(), kind = next(5), flags = next(6) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    long offset = next(FILE_PAGES) * PAGE + (next(30) ? 0 : 512);
    char text[160];
    if (n > 1L << 40)
        n = PAGE;
    if (next(40) == 0)
        flags |= MAP_POPULATE;
    int fd = kind < 2 ? -1 : next(5) ? file : readonly_file;
    flags |= kind == 0 || kind == 3 ? MAP_SHARED : MAP_PRIVATE;
    if (kind < 2)
        flags |= MAP_ANONYMOUS, offset = 0;
    if (next(50) == 0)
        fd = 77, flags &= ~MAP_ANONYMOUS;
    if (a + n > BASE + PAGES * PAGE && n > 0)
        n = BASE + PAGES * PAGE - a;
    snprintf(text, sizeof text, "mmap(%lx, %lx, %d, %x, %d, %lx)", a - BASE, n, p, flags, fd < 0 ? -1 : fd == file ? 3 : fd == 77 ? 77 : 4, offset);
    result(text, (long)mmap((void *)a, (size_t)n, p, flags, fd, offset));
}

static void unmap(void)
{
    long a = address(), n = length();
    char text[160];
    if (n > 12 * PAGE || n < 0)
        n = 13 * PAGE;
    snprintf(text, sizeof text, "munmap(%lx, %lx)", a - BASE, n);
    result(text, munmap((void *)a, (size_t)n));
}

static void protect(void)
{
    long a = address(), n = length();
    int p = next(30) ? protection() : 0x40;
    char text[160];
    snprintf(text, sizeof text, "mprotect(%lx, %lx, %x)", a - BASE, n, p);
    result(text, mprotect((void *)a, (size_t)n, p));
}

static void remap(void)
{
    long a = address(), n = PAGE * (1 + next(2)), m = PAGE * next(4), to = BASE + next(PAGES) * PAGE;
    // A range of several mappings moves as one only in later kernels, so what moves is one page.
    static const int all[] = { 0, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_FIXED, 8, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, MREMAP_DONTUNMAP };
    int flags = all[next(7)];
    char text[160];
    if (labs(to - a) < 2 * PAGE) // Which of two errors comes first is a matter of the version.
        to = BASE + (to - BASE + 4 * PAGE) % (PAGES * PAGE);
    if (flags & MREMAP_FIXED)
        n = PAGE, m = m ? PAGE : 0;
    if (!(flags & MREMAP_FIXED) && m > n)
        m = n;
    snprintf(text, sizeof text, "mremap(%lx, %lx, %lx, %x, %lx)", a - BASE, n, m, flags, to - BASE);
    result(text, (long)mremap((void *)a, (size_t)n, (size_t)m, flags, (void *)to));
}

static void advise(void)
{
    static const int all[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_REMOVE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK,
        MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, 22, 22, 23, 23, 24, 33, MADV_HUGEPAGE, MADV_NOHUGEPAGE };
    long a = address(), n = length();
    int advice = all[next(sizeof all / sizeof *all)];
    char text[160];
    snprintf(text, sizeof text, "madvise(%lx, %lx, %d)", a - BASE, n, advice);
    result(text, madvise((void *)a, (size_t)n, advice));
}

static void lock(void)
{
    long a = address(), n = length();
    int how = next(5);
    char text[160];
    if (n > 12 * PAGE || n < 0)
        n = PAGE;
    snprintf(text, sizeof text, "mlock %d(%lx, %lx)", how, a - BASE, n);
    result(text, how < 2 ? munlock((void *)a, (size_t)n) : how < 4 ? mlock((void *)a, (size_t)n) : mlock2((void *)a, (size_t)n, 1 + next(2) * 2));
}

static void sync_pages(void)
{
    static const int all[] = { MS_ASYNC, MS_SYNC, MS_SYNC | MS_INVALIDATE, MS_ASYNC | MS_SYNC, 0, 8 };
    long a = address(), n = length();
    int flags = all[next(6)];
    char text[160];
    snprintf(text, sizeof text, "msync(%lx, %lx, %x)", a - BASE, n, flags);
    result(text, msync((void *)a, (size_t)n, flags));
}

static void resident(void)
{
    unsigned char vector[64];
    long a = address(), n = (1 + next(12)) * PAGE;
    char text[160];
    memset(vector, 0, sizeof vector);
    snprintf(text, sizeof text, "mincore(%lx, %lx)", a - BASE, n);
    int r = mincore((void *)a, (size_t)n, vector);
    result(text, r);
    if (r == 0)
        for (int i = 0; i < n / PAGE; i++) {
            mix(vector[i] & 1);
            if (verbose)
                printf("%d", vector[i] & 1);
        }
    if (verbose)
        printf("\n");
}

static void touch(int write)
{
    volatile unsigned char *p = (unsigned char *)(BASE + next(PAGES) * PAGE + next(PAGE));
    volatile unsigned char value = (unsigned char)next(256);
    char text[160];
    fault = 0;
    if (sigsetjmp(landing, 1) == 0) {
        if (write)
            *p = value;
        else
            value = *p;
    } else
        value = 0;
    snprintf(text, sizeof text, "%s(%lx)", write ? "store" : "load", (long)p - BASE);
    result(text, fault ? -fault : value);
}

static void copy_self(void)
{
    static unsigned char buffer[8 * PAGE];
    long a = address(), n = (1 + next(6)) * PAGE - next(2) * 100;
    int write = next(2);
    struct iovec local = { buffer, (size_t)n }, remote = { (void *)a, (size_t)n };
    char text[160];
    memset(buffer, (int)next(256), sizeof buffer);
    snprintf(text, sizeof text, "process_vm_%s(%lx, %lx)", write ? "writev" : "readv", a - BASE, n);
    long r = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0) : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    result(text, r);
    for (long i = 0; !write && i < r; i += 61)
        mix(buffer[i]);
}

static void file_io(void)
{
    long a = address(), n = (1 + next(6)) * PAGE - next(2) * 100, offset = next(FILE_PAGES) * PAGE + next(3) * 100;
    int how = next(6);
    static unsigned char source[8 * PAGE];
    char text[160];
    long r;
    memset(source, (int)next(256), sizeof source);
    switch (how) {
    case 0:
        r = ftruncate(file, next(FILE_PAGES) * PAGE + next(2) * 1000);
        break;
    case 1:
        r = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, n);
        break;
    case 2:
        r = fallocate(file, next(2) ? 0 : FALLOC_FL_KEEP_SIZE, offset, n);
        break;
    case 3:
        r = pwrite(file, source, (size_t)n, offset); // From a buffer: kernels differ in what a write from a bad address leaves.
        break;
    case 4:
        r = pread(other, (void *)a, (size_t)n, offset);
        break;
    default:
        r = lseek(file, offset, next(2) ? SEEK_DATA : SEEK_HOLE);
        break;
    }
    snprintf(text, sizeof text, "file %d(%lx, %lx, %lx)", how, a - BASE, n, offset);
    result(text, r);
}

// The layout, with neighbours joined that differ in nothing that a program may notice: kernels join them more or less eagerly.
static void layout(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], previous_mode[8] = "", mode[8], name[256];
    unsigned long start, end, offset, inode, previous_end = 0, previous_offset = 0;
    while (fgets(line, sizeof line, maps)) {
        *name = 0;
        if (sscanf(line, "%lx-%lx %7s %lx %*s %lu %255[^\n]", &start, &end, mode, &offset, &inode, name) < 5 || start < BASE || start >= BASE + PAGES * PAGE)
            continue;
        int is_file = strstr(name, "memfd") != 0, is_zero = strstr(name, "zero") != 0;
        if (!is_file)
            offset = 0;
        if (start == previous_end && !strcmp(mode, previous_mode) && (!is_file || offset == previous_offset)) {
            previous_end = end;
            previous_offset = is_file ? offset + (end - start) : 0;
            continue;
        }
        mix(start);
        mix(previous_end);
        mix(offset);
        mix((uint64_t)(is_file * 2 + is_zero));
        for (char *m = mode; *m; m++)
            mix((uint64_t)*m);
        if (verbose)
            printf("    %lx %s %lx %d\n", start - BASE, mode, offset, is_file);
        strcpy(previous_mode, mode);
        previous_end = end;
        previous_offset = is_file ? offset + (end - start) : 0;
    }
    mix(previous_end);
    fclose(maps);
}

static void contents(void)
{
    for (int i = 0; i < PAGES; i++) {
        volatile unsigned char *p = (unsigned char *)(BASE + i * PAGE);
        fault = 0;
        if (sigsetjmp(landing, 1) == 0)
            for (int j = 0; j < PAGE; j += 97)
                mix(p[j]);
        mix((uint64_t)fault);
        if (verbose)
            printf("%d ", fault);
    }
    if (verbose)
        printf("\n");
}

// A child writes over what it inherits, in the same places, and tells by its status what it saw; the parent must see nothing of it.
static void fork_child(void)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        verbose = 0;
        contents();
        for (int i = 0; i < 12; i++)
            touch(1);
        layout();
        contents();
        _exit((int)(digest & 0x7f));
    }
    waitpid(child, &status, 0);
    result("child", status);
}

static void run(uint64_t seed, int steps)
{
    state = seed * 0x9E3779B97F4A7C15u + 1;
    digest = 0xcbf29ce484222325u;
    file = memfd_create("window", MFD_CLOEXEC);
    other = memfd_create("other", MFD_CLOEXEC);
    for (int i = 0; i < FILE_PAGES * 8; i++)
        if (pwrite(other, (uint64_t[64]){ seed, i, state }, 512, i * 512) != 512)
            exit(1);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    readonly_file = open(path, O_RDONLY | O_CLOEXEC);
    if (ftruncate(file, FILE_PAGES * PAGE))
        exit(1);
    for (int i = 0; i < steps; i++) {
        switch (next(20)) {
        case 0: case 1: case 2: case 3: map(); break;
        case 4: unmap(); break;
        case 5: case 6: protect(); break;
        case 7: remap(); break;
        case 8: case 9: advise(); break;
        case 10: lock(); break;
        case 11: sync_pages(); break;
        case 12: resident(); break;
        case 13: case 14: touch(0); break;
        case 15: case 16: case 17: touch(1); break;
        case 18: copy_self(); break;
        default: file_io(); break;
        }
        if (i % 16 == 15) {
            layout();
            if (i % 64 == 63)
                contents();
            if (i % 32 == 31)
                fork_child();
            if (verbose)
                printf("%d: %016lx\n", i, digest);
        }
    }
    layout();
    contents();
    munmap((void *)BASE, 64 * PAGES * PAGE);
    close(file);
    close(other);
    close(readonly_file);
    printf("seed %lu: %016lx\n", seed, digest);
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    uint64_t seed = argc > 1 ? strtoul(argv[1], 0, 0) : 0;
    int steps = argc > 2 ? atoi(argv[2]) : 0;
    if (seed && steps) {
        verbose = 1;
        run(seed, steps);
        return 0;
    }
    for (seed = 1; seed <= 40; seed++)
        run(seed, 200);
    return 0;
}

/* hugetlb: reservations, faults, fork, holes, and the errors of calls that do not keep to whole huge pages. Needs a pool of 16 pages, or none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef FALLOC_FL_ZERO_RANGE
#define FALLOC_FL_ZERO_RANGE 16
#endif
#define H (2UL << 20)
#define FLAGS_PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
#define FLAGS_SHARED (MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB)
#define SIZE_2M (21 << 26)
#define SIZE_1G (30 << 26)
#define SIZE_16M (24 << 26)
#define RW (PROT_READ | PROT_WRITE)

static const char *name_of(int e)
{
    switch (e) {
    case 0: return "";
    case EINVAL: return "EINVAL";
    case ENOMEM: return "ENOMEM";
    case EPERM: return "EPERM";
    case ENOSPC: return "ENOSPC";
    case ENODEV: return "ENODEV";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case EBUSY: return "EBUSY";
    default: return strerror(e);
    }
}
static void show(const char *what, long r) { printf("%-56s %ld %s\n", what, r < 0 ? -1 : r, r < 0 ? name_of(errno) : ""); fflush(stdout); }
#define T(call) do { errno = 0; show(#call, (long)(call)); } while (0)
#define MAP(length, flags) ((errno = 0, mapped = mmap(0, length, RW, flags, -1, 0)), mapped == MAP_FAILED ? -1L : (long)((unsigned long)mapped & (H - 1)))

static char *mapped;

static long figure(const char *name)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[200];
    long value = -1;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            value = atol(line + strlen(name) + 1);
    fclose(f);
    return value;
}
static void pool(const char *when)
{
    printf("  pool %s: total %ld free %ld reserved %ld surplus %ld\n", when, figure("HugePages_Total"), figure("HugePages_Free"), figure("HugePages_Rsvd"), figure("HugePages_Surp"));
    fflush(stdout);
}

static sigjmp_buf env;
static void bus(int s) { siglongjmp(env, s); }
static const char *touch(volatile char *p, int write)
{
    int s = sigsetjmp(env, 1);
    if (s)
        return s == SIGBUS ? "SIGBUS" : "SIGSEGV";
    if (write)
        *p = *p + 1;
    else
        (void)*p;
    return "ok";
}

static void without_pool(void)
{
    T(MAP(H, FLAGS_PRIVATE));
    T(MAP(H, FLAGS_SHARED));
    T(MAP(H, FLAGS_PRIVATE | SIZE_1G));
    T(MAP(H, FLAGS_PRIVATE | SIZE_16M));
    T(MAP(0, FLAGS_PRIVATE));
    T(MAP(H, FLAGS_PRIVATE | MAP_NORESERVE));
    printf("touch: %s\n", touch(mapped, 1));
    T(munmap(mapped, 4096));
    T(munmap(mapped + 4096, H));
    T(mprotect(mapped, 4096, PROT_READ));
    T(mprotect(mapped + 4096, H - 4096, PROT_READ));
    T(mprotect(mapped, H, PROT_READ));
    T(madvise(mapped, H, MADV_DONTNEED));
    T(madvise(mapped + 4096, 4096, MADV_DONTNEED));
    T(madvise(mapped, 4096, MADV_DONTNEED));
    T(madvise(mapped, H, MADV_FREE));
    T(madvise(mapped, H, MADV_HUGEPAGE));
    T(madvise(mapped, H, MADV_NOHUGEPAGE));
    T(madvise(mapped, H, 20));
    T(mlock(mapped, H));
    T(mremap(mapped, H, 2 * H, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    T(mremap(mapped, H, 4096, 0) == MAP_FAILED ? -1 : 0);
    T(mremap(mapped, H, H, MREMAP_MAYMOVE | MREMAP_FIXED, mapped + 4 * H + 4096) == MAP_FAILED ? -1 : 0);
    T(munmap(mapped, H));
    T(mmap((void *)(0x40000000UL + 4096), H, RW, FLAGS_PRIVATE | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
    T(mmap((void *)(0x40000000UL + 4096), H, RW, FLAGS_PRIVATE | MAP_NORESERVE, -1, 0) == (void *)(0x40000000UL + H));
    T(munmap((void *)(0x40000000UL + H), H));
    T(syscall(SYS_memfd_create, "h", 4 | SIZE_16M));
    T(syscall(SYS_memfd_create, "h", 4 | 32));
    int fd = syscall(SYS_memfd_create, "h", 4 | 2 | SIZE_2M);
    struct stat st;
    fstat(fd, &st);
    printf("mode %o size %ld blksize %ld seals %x\n", st.st_mode, (long)st.st_size, (long)st.st_blksize, fcntl(fd, F_GET_SEALS));
    T(ftruncate(fd, 4096));
    T(ftruncate(fd, 2 * H));
    T(write(fd, "x", 1));
    T(fallocate(fd, 0, 0, H));
    T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, H));
    T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 4096));
    T(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, H));
    T(lseek(fd, 5, SEEK_DATA));
    T(lseek(fd, 5, SEEK_HOLE));
    char data[16];
    memset(data, 1, sizeof data);
    T(pread(fd, data, 16, 2 * H - 8));
    printf("%d %d\n", data[0], data[15]);
    T(mmap(0, H, RW, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    T(mmap(0, H, RW, MAP_SHARED | MAP_NORESERVE, fd, 4096) == MAP_FAILED ? -1 : 0);
    T(mmap(0, 4096, RW, MAP_SHARED | MAP_NORESERVE, fd, 0) == MAP_FAILED ? -1 : 0);
    T(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    close(fd);
    fd = syscall(SYS_memfd_create, "h", 4 | 2);
    T(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    T(ftruncate(fd, H));
    T(mmap(0, H, RW, MAP_SHARED | MAP_NORESERVE, fd, 0) == MAP_FAILED ? -1 : 0);
    T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, H));
    close(fd);
}

static void child_exits(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    printf("child: %s %d\n", WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    fflush(stdout);
}

static void with_pool(void)
{
    pool("at first");
    T(MAP(3 * H, FLAGS_PRIVATE));
    pool("private reserved");
    char *p = mapped;
    p[5] = 'a';
    p[H] = 'b';
    pool("two written");
    T(MAP(17 * H, FLAGS_PRIVATE));
    T(MAP(14 * H, FLAGS_PRIVATE));
    T(madvise(p, H, MADV_DONTNEED));
    printf("%d\n", p[5]);
    pool("one dropped and read again");
    T(munmap(p + 2 * H, H));
    pool("the last unmapped");
    T(munmap(p, 2 * H));
    pool("all unmapped");

    /* fork: the owner's reservation pays for its copies, the child takes its chances. */
    T(MAP(16 * H, FLAGS_PRIVATE));
    p = mapped;
    for (int i = 0; i < 16; i++)
        p[i * H] = (char)(i + 1);
    pool("full");
    int a[2], b[2];
    char c;
    pipe(a);
    pipe(b);
    pid_t child = fork();
    if (!child) {
        signal(SIGBUS, bus);
        printf("child reads %d\n", p[3 * H]);
        fflush(stdout);
        write(a[1], "x", 1);
        read(b[0], &c, 1);
        printf("child after the owner's write: %s, other %s, write %s\n", touch(p + 3 * H, 0), touch(p + 4 * H, 0), touch(p + 4 * H, 1));
        fflush(stdout);
        _exit(7);
    }
    read(a[0], &c, 1);
    printf("owner writes: %s\n", touch(p + 3 * H, 1));
    fflush(stdout);
    write(b[1], "x", 1);
    child_exits(child);
    printf("%d %d\n", p[3 * H], p[4 * H]);
    T(munmap(p, 16 * H));
    pool("after fork");

    T(MAP(4 * H, FLAGS_PRIVATE));
    p = mapped;
    p[0] = 1;
    child = fork();
    if (!child) {
        p[0] = 2;
        p[H] = 3;
        _exit(p[0] + p[H]);
    }
    child_exits(child);
    printf("%d %d\n", p[0], p[H]);
    char *q = mremap(p, 2 * H, 2 * H, MREMAP_MAYMOVE | MREMAP_FIXED, p + 16 * H);
    printf("moved: %d %d\n", q == p + 16 * H, q[0]);
    pool("moved");
    T(munmap(q, 2 * H));
    T(munmap(p + 2 * H, 2 * H));
    pool("gone");

    /* A shared file: reservations belong to the file. */
    int fd = syscall(SYS_memfd_create, "h", 4);
    T(ftruncate(fd, 8 * H));
    char *s = mmap(0, 4 * H, RW, MAP_SHARED, fd, 0), *t = mmap(0, 4 * H, RW, MAP_SHARED, fd, 2 * H);
    pool("shared");
    memset(s, 's', 3 * H);
    pool("written");
    printf("%c %c\n", t[0], t[H - 1]);
    char *private = mmap(0, 4 * H, RW, MAP_PRIVATE, fd, 0);
    private[10] = 'p';
    printf("%c %c %c\n", private[10], private[11], s[10]);
    pool("private copy");
    T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, H - 100, H + 100));
    printf("%c %d %d %c\n", s[H - 101], s[H - 100], s[H], s[2 * H]);
    pool("punched and read again");
    T(madvise(s, H, MADV_REMOVE));
    printf("%d %c\n", s[0], private[10]);
    T(fallocate(fd, 0, 6 * H, 2 * H));
    pool("allocated");
    struct stat st;
    fstat(fd, &st);
    printf("size %ld blocks %ld\n", (long)st.st_size, (long)st.st_blocks);
    signal(SIGBUS, bus);
    T(ftruncate(fd, 2 * H));
    printf("beyond: %s %s\n", touch(s + 2 * H, 0), touch(s + H, 1));
    pool("truncated");
    munmap(s, 4 * H);
    munmap(t, 4 * H);
    munmap(private, 4 * H);
    pool("unmapped");
    close(fd);
    pool("closed");

    T(MAP(20 * H, FLAGS_SHARED | MAP_NORESERVE));
    p = mapped;
    int ok = 0;
    for (int i = 0; i < 20; i++)
        ok += !strcmp(touch(p + i * H, 1), "ok");
    printf("%d of 20 without reservation\n", ok);
    pool("empty");
    child = fork();
    if (!child) {
        p[3] = 'c';
        _exit(0);
    }
    child_exits(child);
    printf("%c\n", p[3]);
    munmap(p, 20 * H);
    pool("in the end");
}

int main(void)
{
    signal(SIGBUS, bus);
    if (figure("HugePages_Total") == 16)
        with_pool();
    else
        without_pool();
    return 0;
}

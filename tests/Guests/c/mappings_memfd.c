/* memfd: flags, seals, fallocate, holes, and what mappings see of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
#ifndef MADV_REMOVE
#define MADV_REMOVE 9
#endif
enum { P = 4096, CLOEXEC = 1, SEALING = 2, HUGE = 4, NOEXEC = 8, EXEC = 16 };
enum { KEEP = 1, PUNCH = 2, COLLAPSE = 8, ZERO = 16, INSERT = 32, UNSHARE = 64 };

#ifndef __GLIBC__
#define strerrorname_np strerror
#endif
static void show(const char *what, long r) { printf("%-44s %ld %s\n", what, r < 0 ? -1 : r, r < 0 ? strerrorname_np(errno) : ""); }
#define T(call) do { errno = 0; show(#call, (long)(call)); } while (0)

static int mfd(unsigned flags) { return (int)syscall(SYS_memfd_create, "m", flags); }
static int seal(int fd, int s) { return fcntl(fd, F_ADD_SEALS, s); }

static void creation(void)
{
    static const unsigned flags[] = {0, CLOEXEC, SEALING, NOEXEC, EXEC, NOEXEC | SEALING, EXEC | SEALING, EXEC | NOEXEC, 32, 1u << 26, 0x80000000u};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        errno = 0;
        int fd = mfd(flags[i]);
        struct stat st = {0};
        if (fd >= 0)
            fstat(fd, &st);
        printf("flags %x: %s", flags[i], fd < 0 ? strerror(errno) : "ok");
        if (fd >= 0)
            printf(" mode %o seals %x cloexec %d size %ld blocks %ld", st.st_mode, fcntl(fd, F_GET_SEALS), fcntl(fd, F_GETFD), (long)st.st_size, (long)st.st_blocks);
        printf("\n");
        if (fd >= 0)
            close(fd);
    }
    static char name[300];
    memset(name, 'n', 249);
    T(syscall(SYS_memfd_create, name, 0) >= 0);
    name[249] = 'n';
    T(syscall(SYS_memfd_create, name, 0));
    T(syscall(SYS_memfd_create, (char *)8, 0));
    char link[64], target[300] = {0};
    int fd = mfd(0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    readlink(link, target, sizeof target - 1);
    printf("%s\n", target);
    close(fd);
}

static void seals(void)
{
    int fd = mfd(SEALING);
    T(ftruncate(fd, 2 * P));
    T(seal(fd, 1 << 10));
    T(seal(fd, F_SEAL_SHRINK));
    T(ftruncate(fd, P));
    T(ftruncate(fd, 3 * P));
    T(seal(fd, F_SEAL_GROW));
    T(ftruncate(fd, 4 * P));
    T(ftruncate(fd, 3 * P));
    T(fallocate(fd, KEEP, 0, 4 * P));
    T(fallocate(fd, 0, 0, 3 * P));
    T(fallocate(fd, KEEP | PUNCH, P, 10 * P));
    char data[3 * P];
    memset(data, 'x', sizeof data);
    T(pwrite(fd, data, sizeof data, P));
    T(pwrite(fd, data, 10, 3 * P));
    T(pwrite(fd, data, 10, 3 * P - 5));
    char *w = mmap(0, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    T(seal(fd, F_SEAL_WRITE));
    T(seal(fd, F_SEAL_FUTURE_WRITE));
    T(mmap(0, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    w[5] = 'w';
    T(pwrite(fd, data, 1, 0));
    T(fallocate(fd, KEEP | PUNCH, 0, P));
    T(pread(fd, data, 10, 0));
    printf("%c\n", data[5]);
    munmap(w, P);
    char *r = mmap(0, P, PROT_READ, MAP_PRIVATE, fd, 0);
    T(mprotect(r, P, PROT_READ | PROT_WRITE));
    r[5] = 'p';
    T(seal(fd, F_SEAL_WRITE));
    T(mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
    T(mmap(0, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    r = mmap(0, P, PROT_READ, MAP_SHARED, fd, 0);
    if (r != MAP_FAILED) {
        T(mprotect(r, P, PROT_READ | PROT_WRITE));
        T(madvise(r, P, MADV_REMOVE));
    }
    T(seal(fd, F_SEAL_SEAL));
    T(seal(fd, F_SEAL_SEAL));
    T(seal(fd, 1 << 10));
    T(fcntl(fd, F_GET_SEALS));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int ro = open(path, O_RDONLY);
    T(seal(ro, F_SEAL_SEAL));
    T(fcntl(ro, F_GET_SEALS));
    close(ro);
    close(fd);
    fd = mfd(0);
    T(seal(fd, F_SEAL_WRITE));
    close(fd);
    fd = mfd(SEALING);
    T(seal(fd, F_SEAL_EXEC));
    T(fcntl(fd, F_GET_SEALS));
    T(fchmod(fd, 0666));
    T(fchmod(fd, 0755));
    close(fd);
    fd = mfd(NOEXEC);
    T(fcntl(fd, F_GET_SEALS));
    T(fchmod(fd, 0777));
    T(fchmod(fd, 0600));
    close(fd);
    int p[2];
    T(pipe(p));
    T(seal(p[1], 1));
    T(seal(p[0], 1));
    T(fcntl(p[0], F_GET_SEALS));
    close(p[0]);
    close(p[1]);
}

static void extents(int fd, off_t end)
{
    for (off_t at = 0; at < end;) {
        off_t data = lseek(fd, at, SEEK_DATA), hole;
        if (data < 0) {
            printf(" none(%s)", errno == ENXIO ? "ENXIO" : "?");
            break;
        }
        hole = lseek(fd, data, SEEK_HOLE);
        printf(" %lx-%lx", (long)data, (long)hole);
        at = hole;
    }
    printf("\n");
}

static void holes(void)
{
    int fd = mfd(0);
    char page[P];
    memset(page, 'd', P);
    T(ftruncate(fd, 16 * P + 100));
    extents(fd, 16 * P + 100);
    pwrite(fd, page, 100, 3 * P + 50);
    pwrite(fd, page, 100, 5 * P - 50);
    pwrite(fd, page, 50, 16 * P + 20);
    extents(fd, 16 * P + 100);
    T(fallocate(fd, 0, 8 * P, 2 * P));
    extents(fd, 16 * P + 100);
    struct stat st;
    fstat(fd, &st);
    printf("blocks %ld size %ld\n", (long)st.st_blocks, (long)st.st_size);
    T(fallocate(fd, KEEP, 20 * P, P));
    fstat(fd, &st);
    printf("blocks %ld size %ld\n", (long)st.st_blocks, (long)st.st_size);
    T(fallocate(fd, 0, 20 * P, P + 1));
    fstat(fd, &st);
    printf("blocks %ld size %ld\n", (long)st.st_blocks, (long)st.st_size);
    char *m = mmap(0, 16 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *c = mmap(0, 16 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    (void)*(volatile char *)(m + 8 * P);
    (void)*(volatile char *)(m + 10 * P);
    extents(fd, 22 * P);
    c[3 * P + 60] = 'c';
    T(fallocate(fd, PUNCH | KEEP, 3 * P + 70, 2 * P));
    printf("%d %d %d %d %c\n", m[3 * P + 69], m[3 * P + 70], m[4 * P + 10], m[5 * P + 10], c[3 * P + 60]);
    extents(fd, 22 * P);
    T(fallocate(fd, PUNCH | KEEP, 5 * P + 1, 5));
    T(fallocate(fd, PUNCH | KEEP, 0, 100 * P));
    extents(fd, 22 * P);
    fstat(fd, &st);
    printf("blocks %ld size %ld, %d %c\n", (long)st.st_blocks, (long)st.st_size, m[3 * P + 60], c[3 * P + 60]);
    T(fallocate(fd, PUNCH, 0, P));
    T(fallocate(fd, ZERO, 0, P));
    T(fallocate(fd, ZERO | KEEP, 0, P));
    T(fallocate(fd, COLLAPSE, 0, P));
    T(fallocate(fd, INSERT, 0, P));
    T(fallocate(fd, UNSHARE, 0, P));
    T(fallocate(fd, 1024, 0, P));
    T(fallocate(fd, 0, -1, P));
    T(fallocate(fd, 0, 0, 0));
    T(fallocate(fd, 0, 0x7ffffffffffff000, P));
    T(fallocate(fd, 0, P, 0x7fffffffffffffff));
    T(lseek(fd, -1, SEEK_DATA));
    T(lseek(fd, 1 << 30, SEEK_HOLE));
    T(ftruncate(fd, -1));
    memset(m, 'm', 4 * P);
    T(madvise(m + P, P, MADV_REMOVE));
    T(madvise(c, P, MADV_REMOVE));
    printf("%c %d %c\n", m[P - 1], m[P], m[2 * P]);
    char *a = mmap(0, 4 * P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(a, 'a', 4 * P);
    T(madvise(a + P, 2 * P, MADV_REMOVE));
    printf("%c %d %d %c\n", a[0], a[P], a[3 * P - 1], a[3 * P]);
    mprotect(a, P, PROT_READ);
    T(madvise(a, P, MADV_REMOVE));
    char *anon = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    T(madvise(anon, P, MADV_REMOVE));
    close(fd);
}

static sigjmp_buf env;
static void bus(int s) { siglongjmp(env, s); }

static void truncation(void)
{
    int fd = mfd(0);
    ftruncate(fd, 4 * P);
    char *m = mmap(0, 4 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *c = mmap(0, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    memset(m, 's', 4 * P);
    c[3 * P] = 'c';
    T(ftruncate(fd, P + 10));
    signal(SIGBUS, bus);
    int s = sigsetjmp(env, 1);
    if (!s)
        c[3 * P] = 'd';
    printf("private copy beyond the end: %s\n", s == SIGBUS ? "SIGBUS" : "written");
    s = sigsetjmp(env, 1);
    if (!s)
        (void)*(volatile char *)(m + 2 * P);
    printf("page beyond the end: %s\n", s == SIGBUS ? "SIGBUS" : "read");
    ftruncate(fd, 4 * P);
    printf("%c %d %d %d\n", m[P + 9], m[P + 10], m[2 * P], c[3 * P]);
    int out = mfd(0);
    off_t from = P - 2;
    T(sendfile(out, fd, &from, 100));
    char data[8] = {0};
    pread(out, data, 4, 0);
    printf("%s at %ld\n", data, (long)from);
    int p[2];
    T(pipe(p));
    loff_t at = 0;
    T(splice(fd, &at, p[1], 0, 1000, 0));
    T(splice(p[0], 0, out, 0, 1000, 0));
    close(fd);
    close(out);
}

/* One thread punches while others write: the file is whole or holed, never torn, and no store hits a page that left the file. */
static char *shared;
static int shared_fd;
static volatile int stop;
static void *writer(void *arg)
{
    long mine = (long)arg, n = 0;
    while (!stop)
        for (int i = 0; i < 8; i++)
            ((volatile long *)(shared + i * P))[mine] = ++n;
    return 0;
}

static void race(void)
{
    shared_fd = mfd(0);
    ftruncate(shared_fd, 8 * P);
    shared = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
    pthread_t t[2];
    for (long i = 0; i < 2; i++)
        pthread_create(t + i, 0, writer, (void *)(i + 1));
    int bad = 0;
    for (int i = 0; i < 200; i++)
        bad += fallocate(shared_fd, PUNCH | KEEP, (i % 4) * P, 4 * P) != 0;
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], 0);
    char page[P];
    for (int i = 0; i < 8; i++) {
        pread(shared_fd, page, P, i * P);
        bad += memcmp(page, shared + i * P, P) != 0;
    }
    printf("punches against writers: %d bad\n", bad);
    bad = 0;
    fallocate(shared_fd, PUNCH | KEEP, 0, 8 * P);
    for (int i = 0; i < 8 * P; i++)
        bad += shared[i] != 0;
    printf("after the last: %d\n", bad);
}

static void sparse(void)
{
    int fd = mfd(0);
    T(ftruncate(fd, 300L << 30));
    char *m = mmap(0, 300L << 30, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    T(m != MAP_FAILED);
    for (long i = 0; i < 300; i += 50)
        m[i << 30] = (char)i;
    extents(fd, 300L << 30);
    T(munmap(m, 300L << 30));
    T(close(fd));
}

int main(void)
{
    creation();
    seals();
    holes();
    truncation();
    race();
    sparse();
    return 0;
}

// What a region shows to those who share it: processes, forks, programs; parts, places and several regions; objects; rights; what others are
// asked about it.
#include "msharefs.h"

#include <linux/futex.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "guest/threads.h"

static const char name[] = "/sys/fs/mshare/sharing", other_name[] = "/sys/fs/mshare/sharing2";

static int region, pipes[2][2];

static void tell(int to)
{
    CHECK_EQ(sys(write, pipes[to][1], "x", 1), 1);
}

static void await(int from)
{
    char c;
    CHECK_EQ(sys(read, pipes[from][0], &c, 1), 1);
}

// A process that maps the region itself, after dropping what it inherited.
static int stranger(void *unused)
{
    (void)unused;
    CHECK_EQ(sys(munmap, BASE, 2 * UNIT), 0);
    CHECK_UNMAPPED(BASE);
    int fd = (int)sys(openat, AT_FDCWD, name, O_RDWR, 0);
    struct mshare_info info;
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_GET_SIZE, &info), 0);
    CHECK_EQ(info.start, BASE);
    CHECK_EQ(info.size, 2 * UNIT);
    CHECK_EQ(region_map(fd, info.start, info.size, READ_WRITE, MAP_SHARED, 0), BASE);
    CHECK_EQ(WORD(BASE), 41);
    WORD(BASE) = 42;
    WORD(BASE + UNIT) = 43;
    return failures();
}

static int child(void *unused)
{
    (void)unused;
    CHECK_EQ(WORD(BASE), 42);
    WORD(BASE + 8) = 7;
    return failures();
}

static void processes(void)
{
    region = region_make(name, BASE, 2 * UNIT);
    CHECK_EQ(region_put(region, BASE, 1 << 20, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_put(region, BASE + UNIT, 1 << 20, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(region, BASE, 2 * UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    CHECK_EQ(WORD(BASE), 0);
    WORD(BASE) = 41;
    CHECK_EQ(status_of_child(stranger, NULL), EXITED(0));
    CHECK_EQ(WORD(BASE), 42);
    CHECK_EQ(WORD(BASE + UNIT), 43);
    CHECK_EQ(status_of_child(child, NULL), EXITED(0));
    CHECK_EQ(WORD(BASE + 8), 7);
    CHECK_UNMAPPED(BASE + (1 << 20));
    CHECK_EQ(sys(munmap, BASE, 2 * UNIT), 0);
    CHECK_UNMAPPED(BASE);
    // Private memory in its place is nobody else's.
    CHECK_EQ(sys(mmap, BASE, 4096, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), BASE);
    CHECK_EQ(WORD(BASE), 0);
    WORD(BASE) = 99;
    CHECK_EQ(sys(munmap, BASE, 4096), 0);
    CHECK_EQ(region_map(region, BASE, 2 * UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    CHECK_EQ(WORD(BASE), 42);
    passed("processes share");
}

static int shrinks(void *unused)
{
    (void)unused;
    CHECK_EQ(WORD(BASE), 42);
    tell(0);
    await(1);
    CHECK_UNMAPPED(BASE + 4096);
    CHECK_NOT_WRITABLE(BASE);
    CHECK_EQ(WORD(BASE), 42);
    return failures();
}

static void changes(void)
{
    CHECK_EQ(sys(pipe2, pipes[0], 0), 0);
    CHECK_EQ(sys(pipe2, pipes[1], 0), 0);
    WORD(BASE + 4096) = 5;
    long pid = sys(fork);
    if (pid == 0)
        exit_group(shrinks(NULL));
    await(0);
    CHECK_EQ(region_unmap(region, BASE + 4096, 4096), 0);
    CHECK_EQ(region_protect(region, BASE, 4096, PROT_READ), 0);
    CHECK_UNMAPPED(BASE + 4096);
    CHECK_NOT_WRITABLE(BASE);
    tell(1);
    int status = -1;
    CHECK_EQ(sys(wait4, pid, &status, 0, 0), pid);
    CHECK_EQ(status, EXITED(0));
    CHECK_EQ(region_protect(region, BASE, 4096, READ_WRITE), 0);
    WORD(BASE) = 42;
    // What comes back is new.
    CHECK_EQ(region_put(region, BASE + 4096, 4096, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(WORD(BASE + 4096), 0);
    passed("everybody sees changes");
}

static void parts(void)
{
    CHECK_EQ(sys(munmap, BASE, 2 * UNIT), 0);
    // The second unit shows its own part.
    CHECK_EQ(region_map(region, BASE + UNIT, UNIT, READ_WRITE, MAP_SHARED, 0), BASE + UNIT);
    CHECK_EQ(WORD(BASE + UNIT), 43);
    CHECK_UNMAPPED(BASE);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, 0), BASE);
    CHECK_EQ(WORD(BASE), 42);
    // Where that is taken, the part at the hint goes elsewhere: a second view.
    long view = region_map(region, BASE, 2 * UNIT, READ_WRITE, MAP_SHARED, 0);
    CHECK(view > 0 && view != BASE && view % UNIT == 0);
    CHECK_EQ(WORD(view), 42);
    WORD(view + UNIT) = 44;
    CHECK_EQ(WORD(BASE + UNIT), 44);
    // An offset names the part.
    CHECK_EQ(region_map(region, BASE + 8 * UNIT, UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, BASE + UNIT), BASE + 8 * UNIT);
    CHECK_EQ(WORD(BASE + 8 * UNIT), 44);
    CHECK_EQ(region_unmap(region, BASE + UNIT, 4096), 0);
    CHECK_UNMAPPED(BASE + 8 * UNIT);
    CHECK_UNMAPPED(view + UNIT);
    CHECK_EQ(region_put(region, BASE + UNIT, 4096, READ_WRITE, ANON_SHARED, -1, 0), 0);
    WORD(BASE + 8 * UNIT) = 45;
    CHECK_EQ(WORD(view + UNIT), 45);
    CHECK_EQ(sys(munmap, view, 2 * UNIT), 0);
    CHECK_EQ(sys(munmap, BASE + 8 * UNIT, UNIT), 0);
    CHECK_EQ(WORD(BASE + UNIT), 45);
    // Another region, elsewhere.
    int second = region_make(other_name, BASE + 16 * UNIT, UNIT);
    CHECK_EQ(region_put(second, BASE + 16 * UNIT, 8192, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(second, 0, UNIT, READ_WRITE, MAP_SHARED, 0), BASE + 16 * UNIT);
    WORD(BASE + 16 * UNIT) = 1;
    CHECK_EQ(WORD(BASE), 42);
    CHECK_EQ(sys(unlink, other_name), 0);
    CHECK_EQ(sys(close, second), 0);
    CHECK_EQ(WORD(BASE + 16 * UNIT), 1);
    CHECK_EQ(sys(munmap, BASE + 16 * UNIT, UNIT), 0);
    passed("parts, places, regions");
}

static int reads_only(void *unused)
{
    (void)unused;
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    int fd = (int)sys(openat, AT_FDCWD, name, O_RDONLY, 0);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), -EACCES);
    CHECK_EQ(region_map(fd, BASE, UNIT, PROT_READ, MAP_SHARED, 0), BASE);
    CHECK_EQ(WORD(BASE), 42);
    CHECK_NOT_WRITABLE(BASE);
    CHECK_NOT_WRITABLE(BASE + 8192);
    CHECK_EQ(sys(mprotect, BASE, UNIT, READ_WRITE), -EACCES);
    CHECK_EQ(region_unmap(fd, BASE, 4096), -EACCES);
    // The kernel obeys as well.
    CHECK_EQ(sys(clock_gettime, 0, BASE), -EFAULT);
    return failures();
}

static int loses_rights(void *unused)
{
    (void)unused;
    WORD(BASE + 16) = 3;
    CHECK_EQ(sys(mprotect, BASE, UNIT, PROT_READ), 0);
    CHECK_NOT_WRITABLE(BASE);
    CHECK_EQ(WORD(BASE + 16), 3);
    CHECK_EQ(sys(mprotect, BASE, UNIT, PROT_NONE), 0);
    CHECK_FAULT(fault_of_read((void *)BASE), SIGSEGV, SEGV_ACCERR, BASE);
    tell(0);
    await(1);
    CHECK_EQ(sys(mprotect, BASE, UNIT, READ_WRITE), 0);
    CHECK_EQ(WORD(BASE + 16), 4);
    CHECK_EQ(sys(mprotect, BASE, 4096, PROT_READ), -EINVAL);
    CHECK_EQ(sys(munmap, BASE + 4096, 4096), -EINVAL);
    CHECK_EQ(sys(munmap, BASE, 4096), -EINVAL);
    CHECK_EQ(sys(mmap, BASE + 4096, 4096, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), -EINVAL);
    CHECK_EQ(sys(mremap, BASE, UNIT, UNIT / 2, 0, 0), -EINVAL);
    CHECK_EQ(sys(mremap, BASE, UNIT, 2 * UNIT, MREMAP_MAYMOVE, 0), -EINVAL);
    CHECK_EQ(WORD(BASE + 16), 4);
    return failures();
}

static void runs(void *code)
{
    ((void (*)(void))code)();
}

static void rights(void)
{
    WORD(BASE + 8192) = 1;
    CHECK_EQ(status_of_child(reads_only, NULL), EXITED(0));
    long pid = sys(fork);
    if (pid == 0)
        exit_group(loses_rights(NULL));
    await(0);
    // Rights are each sharer's own.
    CHECK_EQ(WORD(BASE + 16), 3);
    WORD(BASE + 16) = 4;
    tell(1);
    int status = -1;
    CHECK_EQ(sys(wait4, pid, &status, 0, 0), pid);
    CHECK_EQ(status, EXITED(0));
    // The region allows execution, the container does not, and then does.
    CHECK_EQ(region_put(region, BASE + (64UL << 20), 4096, READ_WRITE | PROT_EXEC, ANON_SHARED, -1, 0), 0);
    *(volatile unsigned char *)(BASE + (64UL << 20)) = 0xc3;
    CHECK_FAULT(fault_of(runs, (void *)(BASE + (64UL << 20))), SIGSEGV, SEGV_ACCERR, BASE + (64UL << 20));
    CHECK_EQ(sys(mprotect, BASE, UNIT, READ_WRITE | PROT_EXEC), 0);
    CHECK_EQ(fault_of(runs, (void *)(BASE + (64UL << 20))).signal, 0);
    CHECK_EQ(sys(mprotect, BASE, UNIT, READ_WRITE), 0);
    CHECK_FAULT(fault_of(runs, (void *)(BASE + (64UL << 20))), SIGSEGV, SEGV_ACCERR, BASE + (64UL << 20));
    passed("rights");
}

static void objects(void)
{
    unsigned long at = BASE + (128UL << 20);
    int memory = (int)sys(memfd_create, "object", 0);
    CHECK_EQ(sys(ftruncate, memory, 8192), 0);
    CHECK_EQ(sys(pwrite64, memory, "memfd", 6, 4096), 6);
    CHECK_EQ(region_put(region, at, 8192, READ_WRITE, MAP_SHARED | MAP_FIXED, memory, 4096), 0);
    CHECK_TEXT((char *)at, "memfd");
    CHECK_FAULT(fault_of_read((void *)(at + 4096)), SIGBUS, BUS_ADRERR, at + 4096);
    *(volatile char *)at = 'M';
    char text[8] = "";
    CHECK_EQ(sys(pread64, memory, text, 6, 4096), 6);
    CHECK_TEXT(text, "Memfd");
    // A hole and a truncation reach who shares.
    CHECK_EQ(sys(fallocate, memory, 3, 4096, 4096), 0);
    CHECK_EQ(*(volatile char *)at, 0);
    CHECK_EQ(sys(ftruncate, memory, 4096), 0);
    CHECK_FAULT(fault_of_read((void *)at), SIGBUS, BUS_ADRERR, at);
    CHECK_EQ(sys(close, memory), 0);
    int file = (int)sys(openat, AT_FDCWD, "/tmp/object", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(sys(ftruncate, file, 4096), 0);
    CHECK_EQ(region_put(region, at + 8192, 4096, READ_WRITE, MAP_SHARED | MAP_FIXED, file, 0), 0);
    WORD(at + 8192) = 6;
    unsigned long word = 0;
    CHECK_EQ(sys(pread64, file, &word, sizeof(word), 0), sizeof(word));
    CHECK_EQ(word, 6);
    CHECK_EQ(sys(unlink, "/tmp/object"), 0);
    CHECK_EQ(sys(close, file), 0);
    CHECK_EQ(region_unmap(region, at, 12288), 0);
    // Populated at once, and by the container.
    CHECK_EQ(region_put(region, at, 16384, READ_WRITE, ANON_SHARED | MAP_POPULATE, -1, 0), 0);
    unsigned char present[4] = { 0 };
    CHECK_EQ(sys(mincore, at, 16384, present), 0);
    CHECK(present[0] & present[3] & 1);
    CHECK_EQ(sys(madvise, BASE, 1 << 20, MADV_POPULATE_WRITE), 0);
    CHECK_EQ(sys(mincore, at + 16384, 4096, present), -ENOMEM);
    // Advice about pages is the region's, and loses nothing.
    WORD(at) = 8;
    CHECK_EQ(sys(madvise, BASE, UNIT, MADV_DONTNEED), 0);
    CHECK_EQ(WORD(at), 8);
    CHECK_EQ(sys(madvise, BASE, UNIT, MADV_PAGEOUT), 0);
    CHECK_EQ(WORD(at), 8);
    CHECK_EQ(sys(madvise, BASE, UNIT, MADV_HUGEPAGE), -EINVAL);
    CHECK_EQ(sys(madvise, BASE, UNIT, MADV_FREE), -EINVAL);
    CHECK_EQ(region_unmap(region, at, 16384), 0);
    passed("objects");
}

static int wakes(void *unused)
{
    (void)unused;
    // By another way to the same word: the futex is the object's, not the address's.
    long view = region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0);
    unsigned *word = (unsigned *)(view + 512);
    await(1);
    *word = 1;
    long woken = 0;
    while (woken == 0) {
        woken = sys(futex, word, FUTEX_WAKE, 1, 0, 0, 0);
        if (woken == 0)
            sys(sched_yield);
    }
    return failures();
}

static void others(void)
{
    // get_user_pages by process_vm_readv and writev, in both directions.
    unsigned long from = 0, to = 77;
    WORD(BASE + 64) = 76;
    struct iovec local = { &from, 8 }, remote = { (void *)(BASE + 64), 8 };
    long self = process_id();
    CHECK_EQ(sys(process_vm_readv, self, &local, 1, &remote, 1, 0), 8);
    CHECK_EQ(from, 76);
    local.iov_base = &to;
    CHECK_EQ(sys(process_vm_writev, self, &local, 1, &remote, 1, 0), 8);
    CHECK_EQ(WORD(BASE + 64), 77);
    remote.iov_base = (void *)(BASE + UNIT / 2);
    CHECK_EQ(sys(process_vm_readv, self, &local, 1, &remote, 1, 0), -EFAULT);
    // /proc/self/mem.
    int memory = (int)sys(openat, AT_FDCWD, "/proc/self/mem", O_RDWR, 0);
    CHECK_EQ(sys(pread64, memory, &from, 8, BASE + 64), 8);
    CHECK_EQ(from, 77);
    CHECK_EQ(sys(pwrite64, memory, "abcdefg", 8, BASE + 4096), 8);
    CHECK_TEXT((char *)(BASE + 4096), "abcdefg");
    CHECK_EQ(sys(close, memory), 0);
    // Copies of system calls, in and out.
    CHECK_EQ(sys(write, pipes[0][1], BASE + 4096, 8), 8);
    CHECK_EQ(sys(read, pipes[0][0], BASE + 8192, 8), 8);
    CHECK_TEXT((char *)(BASE + 8192), "abcdefg");
    CHECK_EQ(sys(write, pipes[0][1], BASE + UNIT / 2, 8), -EFAULT);
    // A futex of a process that sees the region elsewhere.
    unsigned *word = (unsigned *)(BASE + 512);
    *word = 0;
    long pid = sys(fork);
    if (pid == 0)
        exit_group(wakes(NULL));
    tell(1);
    while (*(volatile unsigned *)word == 0)
        futex_wait(word, 0, NULL);
    // Whoever came too late for the first wake-up is woken by none: wait for the child, which goes on until it has woken somebody.
    int status = -1;
    long done;
    while ((done = sys(wait4, pid, &status, 1 /* WNOHANG */, 0)) == 0) {
        struct __kernel_timespec soon = { 0, 1000000 };
        futex_wait(word, 1, &soon);
    }
    CHECK_EQ(done, pid);
    CHECK_EQ(status, EXITED(0));
    passed("others");
}

int main(int argc, char **argv, char **envp)
{
    catch_faults();
    if (argc > 1) {
        // exec drops the region.
        CHECK_UNMAPPED(BASE);
        return failures();
    }
    processes();
    changes();
    parts();
    rights();
    objects();
    others();
    long pid = sys(fork);
    if (pid == 0) {
        char *arguments[] = { argv[0], "again", NULL };
        sys(execve, "/proc/self/exe", arguments, envp);
        exit_group(127);
    }
    int status = -1;
    CHECK_EQ(sys(wait4, pid, &status, 0, 0), pid);
    CHECK_EQ(status, EXITED(0));
    CHECK_EQ(sys(unlink, name), 0);
    passed("exec");
    return report();
}

// The patches of RFC v3 as they were posted (--mshare-variant rfc-v3): each defect shows. posted [evicted]
#include "msharefs.h"

#include <linux/wait.h>

#define FOLDER "/sys/fs/mshare/"

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

static void sizes(void)
{
    int fd = (int)sys(openat, AT_FDCWD, FOLDER "zero", O_RDWR | O_CREAT, 0600);
    struct mshare_info info = { 0, UNIT };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), 0);
    info.size = 2 * UNIT;
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), 0);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_GET_SIZE, &info), 0);
    CHECK_EQ(info.size, 2 * UNIT);
    CHECK_EQ(region_put(fd, UNIT, PAGE, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_map(fd, UNIT, UNIT, READ_WRITE, MAP_SHARED, 0), -EINVAL);
    CHECK_EQ(sys(close, fd), 0);
    CHECK_EQ(sys(unlink, FOLDER "zero"), 0);
    fd = (int)sys(openat, AT_FDCWD, FOLDER "none", O_RDWR | O_CREAT, 0600);
    info = (struct mshare_info){ BASE, 0 };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), 0);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_GET_SIZE, &info), 0);
    CHECK_EQ(info.size, -1UL);
    CHECK_EQ(region_put(fd, BASE, PAGE, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), -EINVAL);
    info = (struct mshare_info){ BASE, UNIT };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), -EINVAL);
    CHECK_EQ(sys(close, fd), 0);
    CHECK_EQ(sys(unlink, FOLDER "none"), 0);
    passed("sizes");
}

static void mappings(void)
{
    region = region_make(FOLDER "posted", BASE, 2 * UNIT);
    CHECK_EQ(region_put(region, BASE + PAGE, -BASE, READ_WRITE, ANON_SHARED, -1, 0), -ENOMEM);
    CHECK_EQ(region_put(region, BASE, PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, 1, 0), -EINVAL);
    CHECK_EQ(region_unmap(region, BASE, PAGE), -ENOTTY);
    CHECK_EQ(region_protect(region, BASE, PAGE, PROT_READ), -ENOTTY);
    CHECK_EQ(region_put(region, BASE, 4 * PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(region, BASE + UNIT, UNIT, READ_WRITE, MAP_SHARED, 0), BASE + UNIT);
    WORD(BASE + UNIT) = 5;
    CHECK_EQ(sys(munmap, BASE + UNIT, UNIT), 0);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    // The second unit showed the first.
    CHECK_EQ(WORD(BASE), 5);
    passed("parts");
}

static int writes(void *unused)
{
    (void)unused;
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    CHECK_EQ(region_map(region, BASE, UNIT, PROT_READ, MAP_SHARED, 0), BASE);
    CHECK_EQ(WORD(BASE), 5);
    // Nothing keeps a processor from it.
    WORD(BASE) = 6;
    return failures();
}

static void rights(void)
{
    CHECK_EQ(status_of_child(writes, NULL), EXITED(0));
    CHECK_EQ(WORD(BASE), 6);
    // One process forbids itself to write, which changes everybody's entries, and flushes nobody else.
    long pid = sys(fork);
    if (pid == 0) {
        CHECK_EQ(sys(mprotect, BASE, UNIT, PROT_READ), 0);
        CHECK_NOT_WRITABLE(BASE);
        tell(0);
        await(1);
        CHECK_EQ(WORD(BASE), 8);
        exit_group(failures());
    }
    await(0);
    WORD(BASE) = 8;
    tell(1);
    int status = -1;
    CHECK_EQ(sys(wait4, pid, &status, 0, 0), pid);
    CHECK_EQ(status, EXITED(0));
    CHECK_EQ(WORD(BASE), 8);
    CHECK_EQ(sys(mprotect, BASE, UNIT, PROT_NONE), 0);
    CHECK_EQ(sys(mprotect, BASE, UNIT, READ_WRITE), 0);
    CHECK_EQ(sys(madvise, BASE, UNIT, MADV_DONTNEED), 0);
    CHECK_EQ(WORD(BASE), 8);
    passed("rights");
}

static void links(void)
{
    long pid = sys(fork);
    if (pid == 0) {
        CHECK_EQ(WORD(BASE), 8);
        tell(0);
        await(1);
        // What the parent has for itself now.
        CHECK_EQ(WORD(BASE + PAGE), 77);
        exit_group(failures());
    }
    await(0);
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    // The container is gone, its link is not.
    CHECK_EQ(WORD(BASE), 8);
    CHECK_EQ(sys(mmap, BASE + PAGE, PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), BASE + PAGE);
    WORD(BASE + PAGE) = 77;
    tell(1);
    int status = -1;
    CHECK_EQ(sys(wait4, pid, &status, 0, 0), pid);
    CHECK_EQ(status, EXITED(0));
    CHECK_EQ(sys(munmap, BASE + PAGE, PAGE), 0);
    passed("links");
}

static int follows(void *unused)
{
    (void)unused;
    int fd = region_make(FOLDER "evicted", BASE, UNIT);
    CHECK_EQ(region_put(fd, BASE, PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    WORD(BASE) = 1;
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    CHECK_EQ(sys(unlink, FOLDER "evicted"), 0);
    CHECK_EQ(sys(close, fd), 0);
    // The tables are free, and the link leads there.
    fault_of_read((void *)BASE);
    return 0;
}

int main(int argc, char **argv, char **envp)
{
    (void)argv;
    (void)envp;
    catch_faults();
    CHECK_EQ(sys(pipe2, pipes[0], 0), 0);
    CHECK_EQ(sys(pipe2, pipes[1], 0), 0);
    if (argc > 1) {
        CHECK_EQ(status_of_child(follows, NULL), EXITED(0));
        return report();
    }
    sizes();
    mappings();
    rights();
    links();
    CHECK_EQ(sys(unlink, FOLDER "posted"), 0);
    return report();
}

// The files of msharefs and its ioctls: names, modes, what is refused and with which error, and that nothing is left behind.
// regions [CYCLES [mount]]
#include "msharefs.h"

#include <linux/magic.h>
#include <linux/stat.h>
#include <linux/wait.h>
#include <asm/statfs.h>
#include <asm/stat.h>

#define FOLDER "/sys/fs/mshare/"

static int create(const char *name)
{
    return (int)sys(openat, AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL, 0600);
}

static void files(void)
{
    struct statfs fs;
    CHECK_EQ(sys(statfs, FOLDER, &fs), 0);
    CHECK_EQ(fs.f_type, MSHAREFS_MAGIC);
    char text[32] = "";
    int info = (int)sys(openat, AT_FDCWD, FOLDER "mshare_info", O_RDONLY, 0);
    CHECK_EQ(sys(read, info, text, sizeof(text)), 13);
    CHECK_TEXT(text, "549755813888\n");
    CHECK_EQ(sys(read, info, text, sizeof(text)), 0);
    struct mshare_info none;
    CHECK_EQ(sys(ioctl, info, MSHAREFS_GET_SIZE, &none), -ENOTTY);
    CHECK_EQ(region_map(info, 0, UNIT, PROT_READ, MAP_SHARED, 0), -ENODEV);
    CHECK_EQ(sys(close, info), 0);
    struct stat st;
    CHECK_EQ(sys(stat, FOLDER, &st), 0);
    CHECK_EQ(st.st_mode, S_IFDIR | 0777);
    CHECK_EQ(st.st_ino, 1);
    CHECK_EQ(sys(stat, FOLDER "mshare_info", &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0444);
    CHECK_EQ(st.st_ino, 2);
    CHECK_EQ(sys(unlink, FOLDER "mshare_info"), -EPERM);
    CHECK_EQ(sys(rename, FOLDER "mshare_info", FOLDER "other"), -EPERM);

    int fd = create(FOLDER "one");
    CHECK(fd >= 0);
    CHECK_EQ(create(FOLDER "one"), -EEXIST);
    int again = (int)sys(openat, AT_FDCWD, FOLDER "one", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(again >= 0);
    CHECK_EQ(sys(close, again), 0);
    CHECK_EQ(sys(rename, FOLDER "one", FOLDER "mshare_info"), -EPERM);
    CHECK_EQ(sys(stat, FOLDER "one", &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0600);
    CHECK_EQ(sys(mkdir, FOLDER "folder", 0755), 0);
    CHECK_EQ(sys(rename, FOLDER "one", FOLDER "folder/two"), 0);
    CHECK_EQ(sys(link, FOLDER "folder/two", FOLDER "three"), 0);
    CHECK_EQ(sys(rmdir, FOLDER "folder"), -ENOTEMPTY);
    CHECK_EQ(sys(unlink, FOLDER "folder/two"), 0);
    CHECK_EQ(sys(rmdir, FOLDER "folder"), 0);
    CHECK_EQ(sys(mknod, FOLDER "fifo", S_IFIFO | 0600, 0), -EINVAL);
    CHECK_EQ(sys(symlink, "three", FOLDER "four"), -EPERM);
    CHECK_EQ(sys(fchmod, fd, 0640), 0);
    CHECK_EQ(sys(stat, FOLDER "three", &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0640);
    CHECK_EQ(st.st_nlink, 1);
    // Permission is by the mode, when it is opened.
    CHECK_EQ(sys(chmod, FOLDER "three", 0400), 0);
    CHECK_EQ(sys(openat, AT_FDCWD, FOLDER "three", O_RDWR, 0), -EACCES);
    CHECK_EQ(sys(chmod, FOLDER "three", 0), 0);
    CHECK_EQ(sys(openat, AT_FDCWD, FOLDER "three", O_RDONLY, 0), -EACCES);
    CHECK_EQ(sys(read, fd, text, 1), -EINVAL);
    CHECK_EQ(sys(close, fd), 0);
    CHECK_EQ(sys(unlink, FOLDER "three"), 0);
    passed("files");
}

static void sizes(void)
{
    int fd = create(FOLDER "sizes");
    struct mshare_info info = { 1, 1 };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_GET_SIZE, &info), 0);
    CHECK_EQ(info.start | info.size, 0);
    // Not set yet: nothing can be mapped.
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), -EINVAL);
    CHECK_EQ(region_unmap(fd, BASE, 4096), -EINVAL);
    const struct mshare_info bad[] = {
        { BASE + 4096, UNIT }, { BASE, UNIT + 4096 }, { BASE, 0 }, { 0, 0 }, { BASE, -BASE }, { BASE, -UNIT }, { -UNIT, 2 * UNIT },
        { 256 * UNIT, UNIT }, { 255 * UNIT, UNIT }, { -UNIT, UNIT }, { BASE / 2 + UNIT / 2, UNIT / 2 },
    };
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &bad[i]), -EINVAL);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, 8), -EFAULT);
    info = (struct mshare_info){ BASE, 2 * UNIT };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), 0);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), -EINVAL);
    info = (struct mshare_info){ BASE, UNIT };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), -EINVAL);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_GET_SIZE, &info), 0);
    CHECK_EQ(info.size, 2 * UNIT);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_GET_SIZE, 8), -EFAULT);
    CHECK_EQ(sys(ioctl, fd, 0x7803, &info), -ENOTTY);
    CHECK_EQ(sys(unlink, FOLDER "sizes"), 0);
    CHECK_EQ(sys(close, fd), 0);

    // A start of 0 is a start: set once, and good for what lies above.
    fd = create(FOLDER "zero");
    info = (struct mshare_info){ 0, 8 * UNIT };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), 0);
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), -EINVAL);
    CHECK_EQ(region_put(fd, 0, 4096, READ_WRITE, ANON_SHARED, -1, 0), -EPERM);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    WORD(BASE) = 1;
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    CHECK_EQ(sys(unlink, FOLDER "zero"), 0);
    CHECK_EQ(sys(close, fd), 0);
    passed("sizes");
}

static void mappings(void)
{
    int fd = region_make(FOLDER "mappings", BASE, 2 * UNIT);
    const unsigned long end = BASE + 2 * UNIT;
    // In the order of the checks: the place, the flags, the object, and then mmap's own.
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_CREATE_MAPPING, 8), -EFAULT);
    CHECK_EQ(region_put(fd, BASE - 4096, 4096, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, end, 4096, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, end - 4096, 8192, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE + 4096, -BASE, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE + 4096, -4096UL, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, MAP_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, MAP_PRIVATE | MAP_FIXED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, ANON_SHARED, 1000, 0), -EBADF);
    long path = sys(openat, AT_FDCWD, "/tmp", O_PATH);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, MAP_SHARED | MAP_FIXED, path, 0), -EBADF);
    sys(close, path);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, MAP_SHARED | MAP_FIXED, 1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE, 0, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE + 8, 4096, READ_WRITE, ANON_SHARED, -1, 0), -EINVAL);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_put(fd, BASE, 4096, READ_WRITE, ANON_SHARED, -1, 0), -EEXIST);
    CHECK_EQ(region_put(fd, BASE, 2 * UNIT, READ_WRITE, ANON_SHARED, -1, 0), -EEXIST);
    int memory = (int)sys(memfd_create, "object", 0);
    CHECK_EQ(sys(ftruncate, memory, 4096), 0);
    CHECK_EQ(region_put(fd, BASE + 8192, 4096, READ_WRITE, MAP_SHARED | MAP_FIXED, memory, 8), -EINVAL);
    CHECK_EQ(sys(close, memory), 0);
    CHECK_EQ(region_unmap(fd, BASE - 4096, 4096), -EINVAL);
    CHECK_EQ(region_unmap(fd, BASE, 4 * UNIT), -EINVAL);
    CHECK_EQ(region_unmap(fd, BASE + 8, 4096), -EINVAL);
    CHECK_EQ(region_unmap(fd, BASE, 0), -EINVAL);
    CHECK_EQ(region_unmap(fd, BASE + UNIT, 4096), 0);
    CHECK_EQ(region_protect(fd, BASE + 4096, 4096, PROT_READ), -ENOMEM);
    CHECK_EQ(region_protect(fd, BASE, 4096, 0x100), -EINVAL);
    CHECK_EQ(region_protect(fd, BASE - 4096, 4096, PROT_READ), -EINVAL);

    CHECK_EQ(region_map(fd, BASE + 4096, UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, 4096, READ_WRITE, MAP_SHARED, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, 0, READ_WRITE, MAP_SHARED, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, 4 * UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE - UNIT, UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE + UNIT, 2 * UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_PRIVATE, 0), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 4096), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, end), -EINVAL);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, 0), -EEXIST);

    // Unlinked and closed, it lives by its mapping.
    CHECK_EQ(sys(unlink, FOLDER "mappings"), 0);
    CHECK_EQ(sys(close, fd), 0);
    WORD(BASE) = 9;
    CHECK_EQ(WORD(BASE), 9);
    CHECK_UNMAPPED(BASE + 4096);
    CHECK_EQ(sys(openat, AT_FDCWD, FOLDER "mappings", O_RDWR, 0), -ENOENT);
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    passed("mappings");
}

// The process's size and the container itself, as /proc shows them, are no secret to the checks of `text`.
static void listing(void)
{
    static char text[16384];
    int fd = region_make(FOLDER "listed", BASE, UNIT);
    CHECK_EQ(region_put(fd, BASE + 8192, 4096, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(fd, BASE, UNIT, PROT_READ, MAP_SHARED, 0), BASE);
    CHECK_EQ(WORD(BASE + 8192), 0);
    int maps = (int)sys(openat, AT_FDCWD, "/proc/self/maps", O_RDONLY, 0);
    CHECK(sys(read, maps, text, sizeof(text) - 1) > 0);
    const char *container = strstr(text, "20000000000-28000000000 r--s"), *inside = strstr(text, "20000002000-20000003000 r--s");
    CHECK(container != NULL && inside != NULL && inside > container);
    CHECK_EQ(sys(close, maps), 0);
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    CHECK_EQ(sys(unlink, FOLDER "listed"), 0);
    CHECK_EQ(sys(close, fd), 0);
    passed("listing");
}

static long free_kilobytes(void)
{
    static char text[4096];
    int fd = (int)sys(openat, AT_FDCWD, "/proc/meminfo", O_RDONLY, 0);
    sys(read, fd, text, sizeof(text) - 1);
    sys(close, fd);
    const char *at = strstr(text, "MemFree:");
    long value = 0;
    for (at = at ? at + 8 : ""; *at == ' '; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    return value;
}

static void cycles(long count)
{
    long before = 0;
    for (long i = 0; i <= count; i++) {
        // The first ones make what stays.
        if (i == count / 10)
            before = free_kilobytes();
        int fd = region_make(FOLDER "cycle", BASE, UNIT);
        CHECK_EQ(region_put(fd, BASE, 8192, READ_WRITE, ANON_SHARED, -1, 0), 0);
        CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
        WORD(BASE) = (unsigned long)i;
        CHECK_EQ(sys(unlink, FOLDER "cycle"), 0);
        if (i % 2 == 0)
            CHECK_EQ(sys(munmap, BASE, UNIT), 0);
        CHECK_EQ(sys(close, fd), 0);
        if (i % 2 == 1)
            CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    }
    CHECK(free_kilobytes() + 256 >= before);
    // As many as descriptors allow, open and without a name; then all at once.
    int last = -1, made = 0;
    for (int fd = 0; fd >= 0; made++) {
        last = fd;
        fd = create(FOLDER "many");
        if (fd >= 0)
            CHECK_EQ(sys(unlink, FOLDER "many"), 0);
        else
            CHECK_EQ(fd, -EMFILE);
    }
    CHECK_EQ(sys(openat, AT_FDCWD, FOLDER "many", O_RDONLY, 0), -EMFILE);
    for (int fd = 3; fd <= last; fd++)
        CHECK_EQ(sys(close, fd), 0);
    CHECK(free_kilobytes() + 512 >= before);
    passed("cycles");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    catch_faults();
    if (argc > 2) {
        CHECK_EQ(sys(mount, "none", FOLDER, "ext4", 0, 0), -EPERM);
        CHECK_EQ(sys(mount, "msharefs", FOLDER, "msharefs", 0, 0), 0);
        CHECK_EQ(sys(mount, "msharefs", FOLDER, "msharefs", 0, 0), -EBUSY);
    }
    files();
    sizes();
    mappings();
    listing();
    cycles(arg_number(argc, argv, 1, 300));
    return report();
}

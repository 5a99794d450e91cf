// Files and directories with their errno values, in a fresh directory under /tmp: files [DIRECTORY].
#include "guest.h"
#include "guest/signals.h"

#include <linux/stat.h>
#include <asm/stat.h>
#include <asm/statfs.h>

static char directory[256];

static void check_create(void)
{
    char text[32] = { 0 };
    CHECK_EQ(sys(open, "a", O_RDONLY), -ENOENT);
    int fd = (int)sys(open, "a", O_CREAT | O_EXCL | O_RDWR, 0640);
    CHECK(fd >= 0);
    CHECK_EQ(sys(open, "a", O_CREAT | O_EXCL | O_RDWR, 0640), -EEXIST);
    CHECK_EQ(sys(write, fd, "hello world", 11), 11);
    CHECK_EQ(sys(lseek, fd, 0, 1), 11);
    CHECK_EQ(sys(lseek, fd, -5, 2), 6);
    CHECK_EQ(sys(read, fd, text, 31), 5);
    CHECK_TEXT(text, "world");
    CHECK_EQ(sys(read, fd, text, 31), 0);
    CHECK_EQ(sys(pread64, fd, text, 5, 0), 5);
    CHECK_TEXT(text, "hello");
    CHECK_EQ(sys(pwrite64, fd, "J", 1, 0), 1);
    CHECK_EQ(sys(lseek, fd, 0, 1), 11);
    CHECK_EQ(sys(lseek, fd, -1, 0), -EINVAL);
    CHECK_EQ(sys(lseek, fd, 0, 99), -EINVAL);
    CHECK_EQ(sys(lseek, fd, 100, 0), 100);
    CHECK_EQ(sys(write, fd, "!", 1), 1);
    CHECK_EQ(sys(pread64, fd, text, 1, 50), 1);
    CHECK_EQ(text[0], 0);
    struct stat st;
    CHECK_EQ(sys(fstat, fd, &st), 0);
    CHECK_EQ(st.st_size, 101);
    CHECK_EQ(st.st_mode, S_IFREG | 0640);
    CHECK_EQ(st.st_nlink, 1);
    CHECK_EQ(st.st_uid, sys(getuid));
    CHECK_EQ(sys(ftruncate, fd, 5), 0);
    CHECK_EQ(sys(fstat, fd, &st), 0);
    CHECK_EQ(st.st_size, 5);
    CHECK_EQ(sys(ftruncate, fd, -1), -EINVAL);
    CHECK_EQ(sys(truncate, "a", 8), 0);
    memset(text, 1, sizeof text);
    CHECK_EQ(sys(pread64, fd, text, 32, 0), 8);
    CHECK(!memcmp(text, "Jello\0\0\0", 8));
    CHECK_EQ(sys(pread64, fd, text, 32, -1), -EINVAL);
    CHECK_EQ(sys(lseek, fd, 0, 0), 0);
    CHECK_EQ(sys(write, fd, 8, 4), -EFAULT);
    CHECK_EQ(sys(fsync, fd), 0);
    CHECK_EQ(sys(close, fd), 0);
    CHECK_EQ(sys(close, fd), -EBADF);
    CHECK_EQ(sys(read, fd, text, 1), -EBADF);
    CHECK_EQ(sys(open, "a/b", O_RDONLY), -ENOTDIR);
    CHECK_EQ(sys(open, "no/b", O_CREAT | O_RDWR, 0600), -ENOENT);
    CHECK_EQ(sys(open, "", O_RDONLY), -ENOENT);
    CHECK_EQ(sys(open, ".", O_RDWR), -EISDIR);
    CHECK_EQ(sys(open, "a", O_RDONLY | O_DIRECTORY), -ENOTDIR);
    CHECK_EQ(sys(open, 8, O_RDONLY), -EFAULT);
    fd = (int)sys(open, "a", O_WRONLY | O_APPEND);
    CHECK_EQ(sys(write, fd, "end", 3), 3);
    CHECK_EQ(sys(lseek, fd, 0, 1), 11);
    CHECK_EQ(sys(read, fd, text, 1), -EBADF);
    CHECK_EQ(sys(close, fd), 0);
    fd = (int)sys(open, "a", O_WRONLY | O_TRUNC);
    CHECK_EQ(sys(lseek, fd, 0, 2), 0);
    CHECK_EQ(sys(close, fd), 0);
    passed("create, read, write");
}

static void check_names(void)
{
    struct stat st, other;
    CHECK_EQ(sys(rename, "a", "b"), 0);
    CHECK_EQ(sys(stat, "a", &st), -ENOENT);
    CHECK_EQ(sys(link, "b", "c"), 0);
    CHECK_EQ(sys(link, "b", "c"), -EEXIST);
    CHECK_EQ(sys(stat, "c", &st), 0);
    CHECK_EQ(sys(stat, "b", &other), 0);
    CHECK_EQ(st.st_nlink, 2);
    CHECK_EQ(st.st_ino, other.st_ino);
    CHECK_EQ(sys(symlink, "c", "s"), 0);
    CHECK_EQ(sys(lstat, "s", &st), 0);
    CHECK_EQ(st.st_mode, S_IFLNK | 0777);
    CHECK_EQ(st.st_size, 1);
    CHECK_EQ(sys(stat, "s", &st), 0);
    CHECK_EQ(st.st_ino, other.st_ino);
    char target[16] = { 0 };
    CHECK_EQ(sys(readlink, "s", target, 15), 1);
    CHECK_TEXT(target, "c");
    CHECK_EQ(sys(readlink, "c", target, 15), -EINVAL);
    CHECK_EQ(sys(open, "s", O_RDONLY | O_NOFOLLOW), -ELOOP);
    CHECK_EQ(sys(symlink, "loop", "loop"), 0);
    CHECK_EQ(sys(open, "loop", O_RDONLY), -ELOOP);
    CHECK_EQ(sys(symlink, "", "empty"), -ENOENT);
    CHECK_EQ(sys(symlink, "nowhere", "dangling"), 0);
    CHECK_EQ(sys(open, "dangling", O_RDONLY), -ENOENT);
    int fd = (int)sys(open, "dangling", O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0);
    sys(close, fd);
    CHECK_EQ(sys(stat, "nowhere", &st), 0);
    CHECK_EQ(sys(unlink, "nowhere"), 0);
    CHECK_EQ(sys(unlink, "dangling"), 0);
    CHECK_EQ(sys(unlink, "loop"), 0);
    CHECK_EQ(sys(unlink, "s"), 0);
    CHECK_EQ(sys(unlink, "s"), -ENOENT);
    CHECK_EQ(sys(rename, "s", "t"), -ENOENT);
    CHECK_EQ(sys(access, "b", 4), 0);
    CHECK_EQ(sys(access, "b", 64), -EINVAL);
    CHECK_EQ(sys(access, "zzz", 0), -ENOENT);
    CHECK_EQ(sys(chmod, "b", 0444), 0);
    CHECK_EQ(sys(stat, "c", &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0444);
    CHECK_EQ(sys(rename, "b", "c"), 0);     // two names of one file: nothing happens
    CHECK_EQ(sys(stat, "b", &st), 0);
    CHECK_EQ(sys(unlink, "b"), 0);
    CHECK_EQ(sys(unlink, "c"), 0);
    char long_name[300];
    memset(long_name, 'n', 299);
    long_name[299] = 0;
    CHECK_EQ(sys(open, long_name, O_RDONLY), -ENAMETOOLONG);
    passed("names and links");
}

static void check_directories(void)
{
    struct stat st;
    CHECK_EQ(sys(mkdir, "d", 0755), 0);
    CHECK_EQ(sys(mkdir, "d", 0755), -EEXIST);
    CHECK_EQ(sys(mkdir, "x/y", 0755), -ENOENT);
    CHECK_EQ(sys(unlink, "d"), -EISDIR);
    CHECK_EQ(sys(mkdir, "d/e", 0700), 0);
    CHECK_EQ(sys(rmdir, "d"), -ENOTEMPTY);
    CHECK_EQ(sys(stat, "d/e/../../d", &st), 0);
    CHECK_EQ(st.st_mode & 0170000, S_IFDIR);
    CHECK_EQ(sys(rename, "d", "d/e/f"), -EINVAL);
    CHECK_EQ(sys(rename, "d/e", "d/g"), 0);
    CHECK_EQ(sys(chdir, "d/g"), 0);
    char cwd[300];
    long length = sys(getcwd, cwd, sizeof cwd);
    CHECK_EQ(length, strlen(directory) + 5);
    CHECK(!strcmp(cwd + length - 5, "/d/g"));
    CHECK_EQ(sys(getcwd, cwd, 3), -ERANGE);
    CHECK_EQ(sys(chdir, directory), 0);
    CHECK_EQ(sys(chdir, "none"), -ENOENT);
    CHECK_EQ(sys(rmdir, "d/g"), 0);
    CHECK_EQ(sys(rmdir, "d/."), -EINVAL);
    CHECK_EQ(sys(rmdir, "d/.."), -ENOTEMPTY);

    int dir = (int)sys(open, "d", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 200; i++) {
        char name[16];
        format_into(name, sizeof name, "file%03d", i);
        long fd = sys(openat, dir, name, O_CREAT | O_WRONLY, 0600);
        CHECK(fd >= 0);
        sys(close, fd);
    }
    char buffer[1024];
    unsigned char found[200] = { 0 };
    int dots = 0, others = 0;
    long size;
    while ((size = sys(getdents64, dir, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < size;) {
            struct { uint64_t inode; int64_t offset; uint16_t size; uint8_t type; char name[]; } *entry = (void *)(buffer + at);
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                dots++;
            else if (!strncmp(entry->name, "file", 4))
                found[(entry->name[4] - '0') * 100 + (entry->name[5] - '0') * 10 + entry->name[6] - '0']++, others += entry->type != 8;
            at += entry->size;
        }
    }
    CHECK_EQ(size, 0);
    CHECK_EQ(dots, 2);
    CHECK_EQ(others, 0);
    for (int i = 0; i < 200; i++)
        CHECK_EQ(found[i], 1);
    CHECK_EQ(sys(lseek, dir, 0, 0), 0);
    CHECK_EQ(sys(getdents64, dir, buffer, 1), -EINVAL);
    CHECK_EQ(sys(read, dir, buffer, 10), -EISDIR);
    for (int i = 0; i < 200; i++) {
        char name[16];
        format_into(name, sizeof name, "file%03d", i);
        CHECK_EQ(sys(unlinkat, dir, name, 0), 0);
    }
    CHECK_EQ(sys(unlinkat, dir, "file000", 0), -ENOENT);
    CHECK_EQ(sys(close, dir), 0);
    CHECK_EQ(sys(unlinkat, AT_FDCWD, "d", 0), -EISDIR);
    CHECK_EQ(sys(unlinkat, AT_FDCWD, "d", AT_REMOVEDIR), 0);
    CHECK_EQ(sys(openat, 999, "x", O_RDONLY), -EBADF);
    passed("directories");
}

static void check_descriptors(void)
{
    int fd = (int)sys(open, "f", O_CREAT | O_RDWR, 0600);
    sys(write, fd, "0123456789", 10);
    int copy = (int)sys(dup, fd);
    CHECK_EQ(sys(lseek, copy, 3, 0), 3);
    char c;
    CHECK_EQ(sys(read, fd, &c, 1), 1);
    CHECK_EQ(c, '3');
    CHECK_EQ(sys(lseek, copy, 0, 1), 4);
    CHECK_EQ(sys(dup2, fd, 77), 77);
    CHECK_EQ(sys(dup2, fd, fd), fd);
    CHECK_EQ(sys(dup3, fd, fd, 0), -EINVAL);
    CHECK_EQ(sys(dup2, 500, 78), -EBADF);
    CHECK_EQ(sys(dup2, fd, -1), -EBADF);
    CHECK_EQ(sys(fcntl, fd, F_DUPFD, 60), 60);
    CHECK_EQ(sys(fcntl, fd, F_DUPFD_CLOEXEC, 60), 61);
    CHECK_EQ(sys(fcntl, 61, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(sys(fcntl, 60, F_GETFD), 0);
    CHECK_EQ(sys(fcntl, 60, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQ(sys(fcntl, 60, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(sys(fcntl, fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR);
    CHECK_EQ(sys(fcntl, fd, F_SETFL, O_APPEND | O_NONBLOCK), 0);
    CHECK_EQ(sys(fcntl, copy, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_APPEND | O_NONBLOCK);
    CHECK_EQ(sys(fcntl, fd, 9999), -EINVAL);
    CHECK_EQ(sys(fcntl, 400, F_GETFD), -EBADF);
    CHECK_EQ(sys(close, 60), 0);
    CHECK_EQ(sys(close, 61), 0);
    CHECK_EQ(sys(close, 77), 0);
    CHECK_EQ(sys(close, copy), 0);
    int lowest = (int)sys(dup, fd);
    CHECK_EQ(lowest, copy);
    sys(close, lowest);

    // A file lives on after its last name is gone.
    CHECK_EQ(sys(unlink, "f"), 0);
    struct stat st;
    CHECK_EQ(sys(fstat, fd, &st), 0);
    CHECK_EQ(st.st_nlink, 0);
    CHECK_EQ(sys(pread64, fd, &c, 1, 9), 1);
    CHECK_EQ(c, '9');
    CHECK_EQ(sys(close, fd), 0);
    CHECK_EQ(sys(close_range, 100, 200, 0), 0);
    CHECK_EQ(sys(close_range, 5, 4, 0), -EINVAL);
    passed("descriptors");
}

static void check_limits(void)
{
    struct { uint64_t soft, hard; } old, low;
    sys(getrlimit, 7, &old);
    low = old;
    low.soft = 10;
    CHECK_EQ(sys(setrlimit, 7, &low), 0);
    long fd;
    int opened[16], count = 0;
    while ((fd = sys(open, ".", O_RDONLY)) >= 0 && count < 16)
        opened[count++] = (int)fd;
    CHECK_EQ(fd, -EMFILE);
    CHECK_EQ(sys(fcntl, 0, F_DUPFD, 10), -EINVAL);
    while (count)
        sys(close, opened[--count]);
    CHECK_EQ(sys(setrlimit, 7, &old), 0);
    passed("descriptor limit");
}

static void check_more(void)
{
    struct statx sx;
    int fd = (int)sys(open, "m", O_CREAT | O_RDWR, 0604);
    CHECK_EQ(sys(statx, AT_FDCWD, "m", 0, STATX_BASIC_STATS, &sx), 0);
    CHECK_EQ(sx.stx_mode, S_IFREG | 0604);
    CHECK_EQ(sys(newfstatat, fd, "", &(struct stat){ 0 }, 0x1000), 0);
    CHECK_EQ(sys(newfstatat, fd, "", &(struct stat){ 0 }, 0), -ENOENT);
    struct { long seconds, nanoseconds; } times[2] = { { 1000, 5 }, { 2000, 7 } };
    CHECK_EQ(sys(utimensat, AT_FDCWD, "m", times, 0), 0);
    struct stat st;
    sys(fstat, fd, &st);
    CHECK_EQ(st.st_atime, 1000);
    CHECK_EQ(st.st_mtime, 2000);
    CHECK_EQ(sys(fallocate, fd, 0, 0, 5000), 0);
    sys(fstat, fd, &st);
    CHECK_EQ(st.st_size, 5000);
    int out = (int)sys(open, "n", O_CREAT | O_RDWR, 0600);
    sys(pwrite64, fd, "payload", 7, 100);
    long from = 100;
    CHECK_EQ(sys(sendfile, out, fd, &from, 7), 7);
    CHECK_EQ(from, 107);
    char text[8] = { 0 };
    CHECK_EQ(sys(pread64, out, text, 7, 0), 7);
    CHECK_TEXT(text, "payload");
    struct flock lock = { .l_type = F_WRLCK, .l_start = 0, .l_len = 10 };
    CHECK_EQ(sys(fcntl, fd, F_SETLK, &lock), 0);
    CHECK_EQ(sys(flock, fd, 2), 0);
    CHECK_EQ(sys(flock, fd, 8), 0);
    CHECK_EQ(sys(umask, 077), 022);
    CHECK_EQ(sys(mkdir, "u", 0777), 0);
    sys(stat, "u", &st);
    CHECK_EQ(st.st_mode & 0777, 0700);
    CHECK_EQ(sys(umask, 022), 077);
    CHECK_EQ(sys(renameat2, AT_FDCWD, "m", AT_FDCWD, "n", 1), -EEXIST);
    CHECK_EQ(sys(renameat2, AT_FDCWD, "m", AT_FDCWD, "n", 2), 0);
    sys(stat, "m", &st);
    CHECK_EQ(st.st_size, 7);
    CHECK_EQ(sys(mknod, "fifo", 0010600, 0), 0);
    sys(stat, "fifo", &st);
    CHECK_EQ(st.st_mode, 0010600);
    CHECK_EQ(sys(open, "fifo", O_WRONLY | O_NONBLOCK), -ENXIO);
    int reader = (int)sys(open, "fifo", O_RDONLY | O_NONBLOCK), writer = (int)sys(open, "fifo", O_WRONLY);
    CHECK_EQ(sys(write, writer, "hi", 2), 2);
    CHECK_EQ(sys(read, reader, text, 8), 2);
    struct statfs fs;
    CHECK_EQ(sys(statfs, ".", &fs), 0);
    CHECK_EQ(fs.f_bsize, 4096);
    CHECK_EQ(fs.f_namelen, 255);
    static const char *const names[] = { "m", "n", "fifo" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_EQ(sys(unlink, names[i]), 0);
    CHECK_EQ(sys(rmdir, "u"), 0);
    sys(close, fd), sys(close, out), sys(close, reader), sys(close, writer);
    passed("more calls");
}

static void check_devices(void)
{
    char bytes[64];
    int null = (int)sys(open, "/dev/null", O_RDWR), zero = (int)sys(open, "/dev/zero", O_RDWR);
    CHECK_EQ(sys(write, null, "x", 1), 1);
    CHECK_EQ(sys(read, null, bytes, 1), 0);
    memset(bytes, 1, sizeof bytes);
    CHECK_EQ(sys(read, zero, bytes, 64), 64);
    for (int i = 0; i < 64; i++)
        CHECK_EQ(bytes[i], 0);
    int full = (int)sys(open, "/dev/full", O_RDWR);
    CHECK_EQ(sys(write, full, "x", 1), -ENOSPC);
    int random = (int)sys(open, "/dev/urandom", O_RDONLY);
    CHECK_EQ(sys(read, random, bytes, 64), 64);
    CHECK_EQ(sys(getrandom, bytes, 64, 0), 64);
    char *mapped = (char *)mmap6(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    CHECK_EQ(mapped[0], 0);
    mapped[0] = 1;
    sys(munmap, mapped, PAGE);
    sys(close, null), sys(close, zero), sys(close, full), sys(close, random);
    char link[64] = { 0 };
    int fd = (int)sys(open, "/dev/null", O_RDONLY);
    char path[32];
    format_into(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK_EQ(sys(readlink, path, link, 63), 9);
    CHECK_TEXT(link, "/dev/null");
    sys(close, fd);
    passed("devices");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    if (argc > 1)
        strcpy(directory, argv[1]);
    else
        format_into(directory, sizeof directory, "/tmp/guest-files-%ld", process_id());
    sys(umask, 022);
    REQUIRE(sys(mkdir, directory, 0700) == 0);
    REQUIRE(sys(chdir, directory) == 0);
    check_create();
    check_names();
    check_directories();
    check_descriptors();
    check_limits();
    check_more();
    check_devices();
    sys(chdir, "/");
    CHECK_EQ(sys(rmdir, directory), 0);
    return report();
}

// /dev/udmabuf and dma-buf: what is refused, with which error and in which order; what a buffer's descriptor and mapping do. Needs the device. Argument: the
// kernel's release, 61 or 612.
#include "guest/udmabuf.h"

#include <linux/poll.h>
#include <linux/time_types.h>

enum { PAGES = 4, SIZE = PAGES * PAGE };

static int device;
static bool is61;

static long create_items(unsigned flags, unsigned count, const struct udmabuf_create_item *items)
{
    struct {
        struct udmabuf_create_list head;
        struct udmabuf_create_item items[4];
    } list = { .head = { .flags = flags, .count = count } };
    for (unsigned i = 0; i < count && i < COUNT_OF(list.items); i++)
        list.items[i] = items[i];
    return sys(ioctl, device, UDMABUF_CREATE_LIST, &list);
}

static void check_create(void)
{
    int memfd = memfd_sealed(SIZE, 0);
    CHECK_EQ(sys(ioctl, device, UDMABUF_CREATE, 8), -EFAULT);
    CHECK_EQ(sys(ioctl, device, UDMABUF_CREATE_LIST, 8), -EFAULT);
    CHECK_EQ(sys(ioctl, device, 0x12345678, 8), -ENOTTY);
    struct udmabuf_create_list many = { .count = 1025 };
    CHECK_EQ(sys(ioctl, device, UDMABUF_CREATE_LIST, &many), -EINVAL);
    CHECK_EQ(create_items(0, 0, 0), -EINVAL);
    passed("the list");

    CHECK_EQ(udmabuf_create(device, memfd, 1, SIZE), -EINVAL);
    CHECK_EQ(udmabuf_create(device, memfd, 0, SIZE - 1), -EINVAL);
    CHECK_EQ(udmabuf_create(device, -1, 1, SIZE), -EINVAL);
    CHECK_EQ(udmabuf_create(device, -1, 0, 65ul << 20), -EINVAL);
    CHECK_EQ(udmabuf_create(device, memfd, 0, -PAGE), -EINVAL);
    CHECK_EQ(udmabuf_create(device, -1, 0, 0), -EINVAL);
    CHECK_EQ(udmabuf_create(device, -1, 0, SIZE), -EBADFD);
    CHECK_EQ(udmabuf_create(device, 99, 0, SIZE), -EBADFD);
    CHECK_EQ(udmabuf_create(device, device, 0, SIZE), -EBADFD);
    CHECK_EQ(udmabuf_create(device, memfd, SIZE, PAGE), -EINVAL);
    CHECK_EQ(udmabuf_create(device, memfd, PAGE, SIZE), -EINVAL);
    CHECK_EQ(udmabuf_create(device, memfd, -PAGE, PAGE), -EINVAL);
    passed("ranges and descriptors");

    int unsealed = (int)sys(memfd_create, "unsealed", MFD_ALLOW_SEALING);
    sys(ftruncate, unsealed, SIZE);
    CHECK_EQ(udmabuf_create(device, unsealed, 0, SIZE), -EINVAL);
    CHECK_EQ(sys(fcntl, unsealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
    CHECK_EQ(udmabuf_create(device, unsealed, 0, SIZE), -EINVAL);
    int future = memfd_sealed(SIZE, 0);
    CHECK_EQ(sys(fcntl, future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
    CHECK_EQ(udmabuf_create(device, future, 0, SIZE), -EINVAL);
    int plain = (int)sys(memfd_create, "plain", 0);
    sys(ftruncate, plain, SIZE);
    CHECK_EQ(udmabuf_create(device, plain, 0, SIZE), -EINVAL);
    passed("seals");

    // Files of other kinds: of tmpfs, which has seals but cannot have this one; and what has neither.
    int other = (int)sys(openat, AT_FDCWD, "/dev/shm/udmabuf-checks", O_RDWR | O_CREAT, 0600);
    REQUIRE(other >= 0);
    sys(ftruncate, other, SIZE);
    CHECK_EQ(udmabuf_create(device, other, 0, SIZE), -EINVAL);
    sys(close, other);
    sys(unlinkat, AT_FDCWD, "/dev/shm/udmabuf-checks", 0);
    int pipe[2];
    CHECK_EQ(sys(pipe2, pipe, 0), 0);
    CHECK_EQ(udmabuf_create(device, pipe[0], 0, SIZE), -EBADFD);
    sys(close, pipe[0]);
    sys(close, pipe[1]);
    other = (int)sys(openat, AT_FDCWD, "/proc/self/exe", O_RDONLY, 0);
    CHECK_EQ(udmabuf_create(device, other, 0, SIZE), -EBADFD);
    sys(close, other);
    char name[32];
    format_into(name, sizeof(name), "/proc/self/fd/%d", memfd);
    other = (int)sys(openat, AT_FDCWD, name, O_PATH, 0);
    CHECK_EQ(udmabuf_create(device, other, 0, SIZE), -EBADFD);
    sys(close, other);
    other = (int)sys(openat, AT_FDCWD, name, O_RDONLY, 0);
    long of_reader = udmabuf_create(device, other, 0, SIZE);
    CHECK(of_reader >= 0);
    CHECK_EQ(udmabuf_create(device, (int)of_reader, 0, SIZE), -EBADFD);
    // Whoever has the pages may write to them, so they cannot be sealed now.
    CHECK_EQ(sys(fcntl, memfd, F_ADD_SEALS, F_SEAL_WRITE), -EBUSY);
    sys(close, of_reader);
    sys(close, other);
    passed("kinds of files");

    struct udmabuf_create_item items[] = {
        { .memfd = (unsigned)memfd, .size = PAGE }, { .memfd = (unsigned)memfd, .size = 0 }, { .memfd = 99, .size = PAGE },
    };
    CHECK_EQ(create_items(0, 3, items), is61 ? -EBADFD : -EINVAL);
    items[1] = (struct udmabuf_create_item){ .memfd = (unsigned)unsealed, .size = PAGE };
    CHECK_EQ(create_items(0, 3, items), -EINVAL);
    items[2].offset = 5;
    CHECK_EQ(create_items(0, 3, items), -EINVAL);
    passed("items in their order");

    struct rlimit64 { unsigned long soft, hard; } limit = { 0, 0 }, old;
    CHECK_EQ(sys(prlimit64, 0, 7, 0, &old), 0);
    limit.hard = old.hard;
    CHECK_EQ(sys(prlimit64, 0, 7, &limit, 0), 0);
    CHECK_EQ(udmabuf_create(device, memfd, 0, SIZE), -EMFILE);
    CHECK_EQ(sys(prlimit64, 0, 7, &old, 0), 0);
    passed("no descriptor left");

    long buffer = create_items(0xfffffffe, 1, items);
    CHECK(buffer >= 0);
    CHECK_EQ(sys(fcntl, buffer, F_GETFD), 0);
    CHECK_EQ(sys(fcntl, buffer, F_GETFL) & O_ACCMODE, O_RDWR);
    sys(close, buffer);
    buffer = create_items(UDMABUF_FLAGS_CLOEXEC, 1, items);
    CHECK_EQ(sys(fcntl, buffer, F_GETFD), 1);
    sys(close, buffer);
    passed("flags");
    sys(close, memfd);
    sys(close, unsealed);
    sys(close, future);
    sys(close, plain);
}

// A hole in hugetlb is refused by 6.1, and filled since.
static void check_huge(void)
{
    int memfd = memfd_sealed(2 * HUGE, MFD_HUGETLB), plain = memfd_sealed(SIZE, 0);
    REQUIRE(memfd >= 0);
    struct udmabuf_create_item items[] = { { .memfd = (unsigned)memfd, .offset = PAGE, .size = HUGE }, { .memfd = 99, .size = PAGE } };
    CHECK_EQ(create_items(0, 2, items), is61 ? -EINVAL : -EBADFD);
    items[1].memfd = (unsigned)plain;
    long buffer = create_items(0, 2, items);
    CHECK_EQ(buffer < 0 ? buffer : 0, is61 ? -EINVAL : 0);
    sys(close, buffer);
    char *file = map_shared(memfd, 2 * HUGE);
    file[HUGE - PAGE] = 3;
    file[HUGE] = 4;
    buffer = create_items(0, 2, items);
    REQUIRE(buffer >= 0);
    // Pages of 4 KiB out of the middle of large ones.
    char *shown = map_shared((int)buffer, HUGE + PAGE);
    CHECK_EQ(shown[HUGE - 2 * PAGE], 3);
    CHECK_EQ(shown[HUGE - PAGE], 4);
    CHECK_EQ(shown[HUGE], 0);
    sys(munmap, shown, HUGE + PAGE);
    sys(munmap, file, 2 * HUGE);
    sys(close, buffer);
    sys(close, memfd);
    sys(close, plain);
    passed("huge pages");
}

static void check_file(void)
{
    int memfd = memfd_sealed(SIZE, 0);
    int buffer = (int)udmabuf_create(device, memfd, 0, SIZE);
    REQUIRE(buffer >= 0);
    CHECK_EQ(sys(lseek, buffer, 0, 2), SIZE);
    CHECK_EQ(sys(lseek, buffer, 0, 0), 0);
    CHECK_EQ(sys(lseek, buffer, 1, 0), -EINVAL);
    CHECK_EQ(sys(lseek, buffer, -1, 2), -EINVAL);
    CHECK_EQ(sys(lseek, buffer, 0, 1), -EINVAL);
    char byte = 0;
    CHECK_EQ(sys(read, buffer, &byte, 1), -EINVAL);
    CHECK_EQ(sys(write, buffer, &byte, 1), -EINVAL);
    passed("seeking, reading, writing");

    CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), -EINVAL);
    CHECK_EQ(dma_buf_sync(buffer, 0), -EINVAL);
    CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_END), -EINVAL);
    CHECK_EQ(dma_buf_sync(buffer, 8 | DMA_BUF_SYNC_READ), -EINVAL);
    CHECK_EQ(dma_buf_sync(buffer, 1ul << 63 | DMA_BUF_SYNC_READ), -EINVAL);
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_IOCTL_SYNC, 8), -EFAULT);
    CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
    CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
    CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE), 0);
    CHECK_EQ(sys(ioctl, buffer, 0x6299, 0), -ENOTTY);
    passed("sync");

    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_SET_NAME_A, "a name of thirty-one characters"), 0);
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_SET_NAME_B, "a name of thirty-two characters!"), -EINVAL);
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_SET_NAME_B, 8), -EFAULT);
    char path[32], target[64] = { 0 };
    format_into(path, sizeof(path), "/proc/self/fd/%d", buffer);
    CHECK(sys(readlinkat, AT_FDCWD, path, target, sizeof(target) - 1) > 0);
    CHECK_TEXT(target, "/dmabuf:a name of thirty-one characters");
    passed("names");

    struct pollfd poll = { .fd = buffer, .events = POLLIN | POLLOUT };
    struct __kernel_timespec now = { 0, 0 };
    CHECK_EQ(sys(ppoll, &poll, 1, &now, 0, 8), 1);
    CHECK_EQ(poll.revents, POLLIN | POLLOUT);
    struct { unsigned flags; int fd; } export = { DMA_BUF_SYNC_RW, -1 }, bad = { 0, -1 };
    CHECK_EQ(sys(ioctl, buffer, 0xc0086202, &export), 0);
    CHECK(export.fd >= 0);
    CHECK_EQ(sys(ioctl, buffer, 0xc0086202, &bad), -EINVAL);
    CHECK_EQ(sys(ioctl, buffer, 0x40086203, &export), 0);
    struct { unsigned flags; int fd; } wrong = { DMA_BUF_SYNC_READ, memfd };
    CHECK_EQ(sys(ioctl, buffer, 0x40086203, &wrong), -EINVAL);
    poll.fd = export.fd;
    CHECK_EQ(sys(ppoll, &poll, 1, &now, 0, 8), 1);
    CHECK_EQ(poll.revents, POLLIN);
    sys(close, export.fd);
    passed("poll and sync files");
    sys(close, buffer);
    sys(close, memfd);
}

static void check_mapping(void)
{
    int memfd = memfd_sealed(SIZE, 0);
    int buffer = (int)udmabuf_create(device, memfd, 0, SIZE);
    CHECK_EQ(mmap6(0, SIZE, RW, MAP_PRIVATE, buffer, 0), -EINVAL);
    CHECK_EQ(mmap6(0, SIZE + PAGE, RW, MAP_SHARED, buffer, 0), -EINVAL);
    CHECK_EQ(mmap6(0, SIZE, RW, MAP_SHARED, buffer, PAGE), -EINVAL);
    char *file = map_shared(memfd, SIZE), *shown = map_shared(buffer, SIZE);
    for (unsigned long at = 0; at < SIZE; at += PAGE) {
        file[at] = (char)(at / PAGE + 1);
        CHECK_EQ(shown[at], at / PAGE + 1);
        shown[at + 1] = (char)(at / PAGE + 51);
        CHECK_EQ(file[at + 1], at / PAGE + 51);
    }
    long second = mmap6(0, PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, buffer, 2 * PAGE);
    REQUIRE(is_address(second));
    CHECK_EQ(*(char *)second, 3);
    passed("a mapping shows the memfd");

    unsigned local_copy;
    // Frames without references: nobody can take them, nothing can be done to them.
    CHECK_EQ(sys(mremap, second, PAGE, 2 * PAGE, 1), -EFAULT);
    CHECK_EQ(sys(madvise, shown, PAGE, 4), -EINVAL);
    CHECK_EQ(sys(madvise, shown, PAGE, 21), -EINVAL);
    CHECK_EQ(sys(madvise, shown, PAGE, 22), -EINVAL);
    CHECK_EQ(sys(mlock, shown, SIZE), 0);
    struct { void *base; unsigned long length; } local = { &local_copy, 4 }, remote = { shown, 4 };
    CHECK_EQ(sys(process_vm_readv, process_id(), &local, 1, &remote, 1, 0), -EFAULT);
    CHECK_EQ(sys(write, 1, shown, 0), 0);
    CHECK_EQ(sys(mprotect, shown, PAGE, PROT_READ), 0);
    CHECK_FAULT(fault_of_write(shown), SIGSEGV, SEGV_ACCERR, shown);
    CHECK_EQ(sys(mprotect, shown, PAGE, RW), 0);
    shown[0] = 77;
    CHECK_EQ(file[0], 77);
    passed("a mapping of frames");

    // Part of it goes, and everything is closed in the worst order.
    CHECK_EQ(sys(munmap, shown + PAGE, PAGE), 0);
    sys(close, buffer);
    sys(close, memfd);
    sys(munmap, file, SIZE);
    CHECK_EQ(shown[0], 77);
    CHECK_EQ(shown[3 * PAGE], 4);
    long moved = sys(mremap, shown + 2 * PAGE, 2 * PAGE, 2 * PAGE, 1 | 2, shown + 16 * PAGE);
    CHECK_EQ(moved, shown + 16 * PAGE);
    CHECK_EQ(shown[17 * PAGE], 4);
    sys(munmap, shown, 18 * PAGE);
    sys(munmap, second, PAGE);
    passed("closed in any order");
}

static int child_of_mapping(void *argument)
{
    char *shown = argument;
    CHECK_EQ(shown[PAGE], 9);
    shown[0] = 8;
    return failures();
}

static void check_fork(void)
{
    int memfd = memfd_sealed(SIZE, 0);
    int buffer = (int)udmabuf_create(device, memfd, 0, SIZE);
    char *shown = map_shared(buffer, SIZE);
    shown[PAGE] = 9;
    CHECK_EQ(status_of_child(child_of_mapping, shown), EXITED(0));
    CHECK_EQ(shown[0], 8);
    sys(munmap, shown, SIZE);
    sys(close, buffer);
    sys(close, memfd);
    passed("fork");
}

static void check_many(long rounds)
{
    int memfd = memfd_sealed(SIZE, 0);
    for (long i = 0; i < rounds; i++) {
        long buffer = udmabuf_create(device, memfd, 0, SIZE);
        REQUIRE(buffer >= 0);
        char *shown = map_shared((int)buffer, SIZE);
        shown[(i & 3) * PAGE] = (char)i;
        sys(munmap, shown, SIZE);
        REQUIRE(sys(close, buffer) == 0);
    }
    sys(close, memfd);
    passed("made and closed again and again");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    is61 = arg_number(argc, argv, 1, 612) == 61;
    catch_faults();
    device = udmabuf_open();
    REQUIRE(device >= 0);
    check_create();
    check_huge();
    check_file();
    check_mapping();
    check_fork();
    check_many(arg_number(argc, argv, 2, 100));
    return report();
}

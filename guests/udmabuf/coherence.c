// What everybody sees of a buffer after pages were punched out of its memfd, and filled anew by every route: the buffer's mapping, and devices of each kind.
// Argument 1: `pinned` if the driver's design is not to be coherent. Argument 2: pages of 2 MiB for the part with huge pages.
#include "guest/udmabuf.h"
#include "guest/threads.h"
#include "dmabuf_importer.h"

enum { PAGES = 8, SIZE = PAGES * PAGE };

static int device, importers[3];
static bool pinned;

static int importer_open(int number)
{
    char name[] = DMABUF_IMPORTER_STATIC;
    name[sizeof(name) - 2] = (char)('0' + number);
    return (int)sys(openat, AT_FDCWD, name, O_RDWR, 0);
}

static unsigned attach(int importer, int buffer)
{
    struct dmabuf_importer_attach attach = { .fd = buffer };
    REQUIRE(sys(ioctl, importer, DMABUF_IMPORTER_ATTACH, &attach) == 0);
    return attach.handle;
}

static void detach(int importer, unsigned handle)
{
    CHECK_EQ(sys(ioctl, importer, DMABUF_IMPORTER_DETACH, &handle), 0);
}

static long transfer(int importer, unsigned handle, unsigned op, unsigned long offset, unsigned long length, void *pointer, unsigned long *value)
{
    struct dmabuf_importer_transfer transfer = { .handle = handle, .op = op, .offset = offset, .length = length, .pointer = (unsigned long)pointer, .value = value ? *value : 0 };
    long result = sys(ioctl, importer, DMABUF_IMPORTER_TRANSFER, &transfer);
    if (value)
        *value = transfer.value;
    return result;
}

static char device_byte(int importer, unsigned handle, unsigned long offset)
{
    char byte = 0;
    CHECK_EQ(transfer(importer, handle, DMABUF_IMPORTER_READ, offset, 1, &byte, 0), 0);
    return byte;
}

static struct dmabuf_importer_stats stats_of(int importer)
{
    struct dmabuf_importer_stats stats;
    CHECK_EQ(sys(ioctl, importer, DMABUF_IMPORTER_STATS, &stats), 0);
    return stats;
}

static void mark(char *memory, unsigned long pages, char value)
{
    for (unsigned long i = 0; i < pages; i++)
        memory[i * PAGE] = (char)(value + i);
}

static void check_misuse(void)
{
    int memfd = memfd_sealed(SIZE, 0);
    char *file = map_shared(memfd, SIZE);
    int buffer = (int)udmabuf_create(device, memfd, 0, SIZE);
    REQUIRE(buffer >= 0);
    struct dmabuf_importer_attach bad = { .fd = 99 };
    CHECK_EQ(sys(ioctl, importers[1], DMABUF_IMPORTER_ATTACH, &bad), -EBADF);
    bad.fd = memfd;
    CHECK_EQ(sys(ioctl, importers[1], DMABUF_IMPORTER_ATTACH, &bad), -EINVAL);
    bad = (struct dmabuf_importer_attach){ .fd = buffer, .flags = 1 };
    CHECK_EQ(sys(ioctl, importers[1], DMABUF_IMPORTER_ATTACH, &bad), -EINVAL);
    CHECK_EQ(sys(ioctl, importers[1], DMABUF_IMPORTER_ATTACH, 8), -EFAULT);
    unsigned none = 12345, handle = attach(importers[1], buffer);
    CHECK_EQ(sys(ioctl, importers[1], DMABUF_IMPORTER_DETACH, &none), -ENOENT);
    CHECK_EQ(transfer(importers[1], none, DMABUF_IMPORTER_READ, 0, 1, file, 0), -ENOENT);
    CHECK_EQ(transfer(importers[1], handle, 4, 0, 1, file, 0), -EINVAL);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_READ, 0, 0, file, 0), -EINVAL);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_READ, SIZE, 1, file, 0), -EINVAL);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_READ, 1, SIZE, file, 0), -EINVAL);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_READ, 1, -1ul, file, 0), -EINVAL);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_READ, 0, 1, (void *)8, 0), -EFAULT);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_WRITE, 0, 1, (void *)8, 0), -EFAULT);
    CHECK_EQ(transfer(importers[1], handle, DMABUF_IMPORTER_WRITE, 0, 1, (void *)-PAGE, 0), -EFAULT);
    struct dmabuf_importer_wait wait = { .job = 99 };
    CHECK_EQ(sys(ioctl, importers[1], DMABUF_IMPORTER_WAIT, &wait), -EINVAL);
    CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_WAIT, &wait), -ENOENT);
    struct dmabuf_importer_frame frame;
    CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_FRAME, &frame), -EINVAL);
    CHECK_EQ(sys(ioctl, importers[2], 0x1234, 8), -ENOTTY);
    // The buffer lives on while a device is attached.
    file[5] = 55;
    sys(close, buffer);
    sys(close, memfd);
    CHECK_EQ(device_byte(importers[1], handle, 5), 55);
    detach(importers[1], handle);
    sys(munmap, file, SIZE);
    passed("misuse");
}

// A buffer over one or several files, with all its users.
static struct {
    int memfd, buffer;
    unsigned handles[3];
    char *file, *shown;
    unsigned long size, step;
} all;

static void set_up(unsigned long size, unsigned long step, unsigned flags)
{
    all.size = size;
    all.step = step;
    all.memfd = memfd_sealed(size, flags);
    REQUIRE(all.memfd >= 0);
    all.file = map_shared(all.memfd, size);
    for (unsigned long at = 0; at < size; at += step)
        all.file[at] = 'a';
    all.buffer = (int)udmabuf_create(device, all.memfd, 0, size);
    REQUIRE(all.buffer >= 0);
    all.shown = map_shared(all.buffer, size);
    for (int i = 0; i < 3; i++)
        all.handles[i] = attach(importers[i], all.buffer);
}

static void tear_down(void)
{
    for (int i = 0; i < 3; i++)
        detach(importers[i], all.handles[i]);
    sys(munmap, all.shown, all.size);
    sys(munmap, all.file, all.size);
    sys(close, all.buffer);
    sys(close, all.memfd);
}

// Everybody against the memfd at each step; `kept`: what a static device has pinned.
static void compare_all(const char *kept)
{
    for (unsigned long i = 0, at = 0; at < all.size; i++, at += all.step) {
        char byte = 0;
        CHECK_EQ(sys(pread64, all.memfd, &byte, 1, at), 1);
        CHECK_EQ(all.file[at], byte);
        char old = kept ? kept[i] : byte, now = pinned ? old : byte;
        CHECK_EQ(all.shown[at], now);
        CHECK_EQ(device_byte(importers[1], all.handles[1], at), now);
        CHECK_EQ(device_byte(importers[2], all.handles[2], at), now);
        CHECK_EQ(device_byte(importers[0], all.handles[0], at), old);
    }
}

static int refill_in_child(void *argument)
{
    (void)argument;
    char *mine = map_shared(all.memfd, all.size);
    mine[all.step] = 'd';
    return failures();
}

static int punch_in_child(void *argument)
{
    (void)argument;
    punch(all.memfd, all.step, all.step);
    char *mine = map_shared(all.memfd, all.size);
    mine[all.step] = 'p';
    return failures();
}

static void check_routes(const char *name, unsigned long size, unsigned long step, unsigned flags)
{
    set_up(size, step, flags);
    char kept[64];
    memset(kept, 'a', sizeof(kept));
    compare_all(kept);
    // Through the mapping from which the buffer was made.
    punch(all.memfd, step, 2 * step);
    compare_all(kept);
    all.file[step] = 'b';
    compare_all(kept);
    // Through another mapping.
    punch(all.memfd, step, step);
    char *second = map_shared(all.memfd, size);
    second[step] = 'c';
    compare_all(kept);
    sys(munmap, second, size);
    // By another process, which the buffer's maker need not even know.
    punch(all.memfd, step, step);
    CHECK_EQ(status_of_child(refill_in_child, 0), EXITED(0));
    compare_all(kept);
    CHECK_EQ(status_of_child(punch_in_child, 0), EXITED(0));
    compare_all(kept);
    CHECK_EQ(all.file[step], 'p');
    // By write(2), which maps nothing; hugetlbfs has none.
    if (flags == 0) {
        punch(all.memfd, step, step);
        CHECK_EQ(sys(pwrite64, all.memfd, "w", 1, step), 1);
        compare_all(kept);
        CHECK_EQ(all.file[step], 'w');
    }
    // Through the buffer itself.
    punch(all.memfd, step, step);
    all.shown[step] = 's';
    if (pinned)
        kept[1] = 's';
    compare_all(kept);
    // By devices.
    for (int i = 1; i < 3; i++) {
        punch(all.memfd, step, step);
        char byte = (char)('0' + i);
        CHECK_EQ(transfer(importers[i], all.handles[i], DMABUF_IMPORTER_WRITE, step, 1, &byte, 0), 0);
        if (pinned)
            kept[1] = byte;
        compare_all(kept);
    }
    // What attaches now sees what is there now; in a pinned buffer, what was there when it was made.
    unsigned late = attach(importers[0], all.buffer);
    CHECK_EQ(device_byte(importers[0], late, step), pinned ? kept[1] : all.file[step]);
    detach(importers[0], late);
    tear_down();
    passed(name);
}

// The pages of two memfds in turn, some of them twice.
static void check_many_files(void)
{
    int memfds[2] = { memfd_sealed(SIZE, 0), memfd_sealed(SIZE, 0) };
    char *files[2] = { map_shared(memfds[0], SIZE), map_shared(memfds[1], SIZE) };
    mark(files[0], PAGES, 10);
    mark(files[1], PAGES, 50);
    struct {
        struct udmabuf_create_list head;
        struct udmabuf_create_item items[4];
    } list = {
        .head.count = 4,
        .items = {
            { .memfd = (unsigned)memfds[0], .offset = 0, .size = 4 * PAGE },
            { .memfd = (unsigned)memfds[1], .offset = 2 * PAGE, .size = 4 * PAGE },
            { .memfd = (unsigned)memfds[0], .offset = 2 * PAGE, .size = 4 * PAGE },
            { .memfd = (unsigned)memfds[1], .offset = 2 * PAGE, .size = 2 * PAGE },
        },
    };
    static const struct { char file, page; } want[14] = {
        { 0, 0 }, { 0, 1 }, { 0, 2 }, { 0, 3 }, { 1, 2 }, { 1, 3 }, { 1, 4 }, { 1, 5 }, { 0, 2 }, { 0, 3 }, { 0, 4 }, { 0, 5 }, { 1, 2 }, { 1, 3 },
    };
    int buffer = (int)sys(ioctl, device, UDMABUF_CREATE_LIST, &list);
    REQUIRE(buffer >= 0);
    char *shown = map_shared(buffer, 14 * PAGE);
    unsigned handle = attach(importers[1], buffer);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 14; i++) {
            char byte = files[(int)want[i].file][want[i].page * PAGE];
            if (pinned && round > 0)
                continue;
            CHECK_EQ(shown[i * PAGE], byte);
            CHECK_EQ(device_byte(importers[1], handle, i * PAGE), byte);
        }
        punch(memfds[round & 1], 2 * PAGE, 3 * PAGE);
        if (round < 2)
            mark(files[round & 1] + 2 * PAGE, 3, (char)(100 + 5 * round));
    }
    detach(importers[1], handle);
    sys(munmap, shown, 14 * PAGE);
    for (int i = 0; i < 2; i++) {
        sys(munmap, files[i], SIZE);
        sys(close, memfds[i]);
    }
    sys(close, buffer);
    passed("several memfds, overlapping items");
}

static unsigned long sum_of_file(void)
{
    unsigned long sum = 0;
    for (unsigned long i = 0; i < all.size; i++)
        sum += (unsigned char)all.file[i];
    return sum;
}

static void check_scanout(void)
{
    set_up(SIZE, PAGE, 0);
    struct dmabuf_importer_scanout scanout = { .handle = all.handles[2], .run = 1, .length = SIZE };
    CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_SCANOUT, &scanout), 0);
    for (int round = 0; round < 8; round++) {
        punch(all.memfd, (round & 3) * PAGE, 3 * PAGE);
        for (unsigned long i = 0; i < 3 * PAGE; i += 97)
            all.file[(round & 3) * PAGE + i] = (char)(round + 1);
        struct dmabuf_importer_frame frame;
        CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_FRAME, &frame), 0);
        CHECK_EQ(frame.error, 0);
        if (!pinned)
            CHECK_EQ(frame.sum, sum_of_file());
    }
    scanout.run = 0;
    CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_SCANOUT, &scanout), 0);
    tear_down();
    passed("a display");
}

// The engine writes while holes are punched: each page ends with what was written after the hole, or zeroes; nothing goes elsewhere.
static void check_writes_during_punch(void)
{
    set_up(SIZE, PAGE, 0);
    unsigned long before = stats_of(importers[2]).orphans;
    for (int round = 1; round <= 16; round++) {
        struct dmabuf_importer_transfer fill = { .handle = all.handles[2], .op = DMABUF_IMPORTER_FILL, .length = SIZE, .value = (unsigned long)round };
        REQUIRE(sys(ioctl, importers[2], DMABUF_IMPORTER_SUBMIT, &fill) == 0);
        punch(all.memfd, 0, SIZE / 2);
        struct dmabuf_importer_wait wait = { .job = fill.job, .timeout_ms = 10000 };
        CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_WAIT, &wait), 0);
        CHECK_EQ(wait.error, 0);
        CHECK_EQ(sys(ioctl, importers[2], DMABUF_IMPORTER_WAIT, &wait), -ENOENT);
        for (unsigned long at = 0; at < SIZE; at += PAGE) {
            if (at < SIZE / 2)
                CHECK_EQ(all.file[at], 0);      // The job was committed before the hole was punched, and its data went with it.
            else
                CHECK_EQ(all.file[at], round);
        }
    }
    unsigned long orphans = stats_of(importers[2]).orphans - before;
    CHECK(pinned ? orphans > 0 : orphans == 0);
    tear_down();
    passed("a device that writes while a hole is punched");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    pinned = argc > 1 && strcmp(argv[1], "pinned") == 0;
    device = udmabuf_open();
    REQUIRE(device >= 0);
    for (int i = 0; i < 3; i++) {
        importers[i] = importer_open(i);
        REQUIRE(importers[i] >= 0);
    }
    check_misuse();
    check_routes("pages of shmem", SIZE, PAGE, 0);
    if (argc > 2)
        check_routes("pages of hugetlb", (unsigned long)arg_number(argc, argv, 2, 0) * HUGE, HUGE, MFD_HUGETLB);
    check_many_files();
    check_scanout();
    check_writes_during_punch();
    return report();
}

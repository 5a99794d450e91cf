// Everything that keeps a buffer, given up in every order; and buffers made and unmade again and again. Arguments: rounds of the latter; `maker` if the driver's
// design needs the memfd's mapping to be there as long as the buffer is used.
#include "guest/udmabuf.h"
#include "dmabuf_importer.h"

enum { PAGES = 2, SIZE = PAGES * PAGE, THINGS = 6 };

static int device;
static bool needs_maker;

static struct {
    int memfd, buffer, dynamic, engine;
    char *file, *shown;
    unsigned handle;
} now;

static int device_open(const char *name)
{
    int fd = (int)sys(openat, AT_FDCWD, name, O_RDWR, 0);
    REQUIRE(fd >= 0);
    return fd;
}

static unsigned attach(int importer, int buffer)
{
    struct dmabuf_importer_attach attach = { .fd = buffer };
    REQUIRE(sys(ioctl, importer, DMABUF_IMPORTER_ATTACH, &attach) == 0);
    return attach.handle;
}

static long device_read(int importer, unsigned handle, char *byte)
{
    struct dmabuf_importer_transfer read = { .handle = handle, .op = DMABUF_IMPORTER_READ, .length = 1, .pointer = (unsigned long)byte };
    return sys(ioctl, importer, DMABUF_IMPORTER_TRANSFER, &read);
}

static void device_reads(int importer, unsigned handle, char want)
{
    char byte = 0;
    CHECK_EQ(device_read(importer, handle, &byte), 0);
    CHECK_EQ(byte, want);
}

static void set_up(void)
{
    now.memfd = memfd_sealed(SIZE, 0);
    now.file = map_shared(now.memfd, SIZE);
    now.file[0] = 'a';
    now.buffer = (int)udmabuf_create(device, now.memfd, 0, SIZE);
    REQUIRE(now.buffer >= 0);
    now.shown = map_shared(now.buffer, SIZE);
    now.dynamic = device_open(DMABUF_IMPORTER_DYNAMIC);
    now.engine = device_open(DMABUF_IMPORTER_ENGINE);
    now.handle = attach(now.dynamic, now.buffer);
    // A job that nobody waits for.
    struct dmabuf_importer_transfer fill = { .handle = attach(now.engine, now.buffer), .op = DMABUF_IMPORTER_FILL, .offset = PAGE, .length = PAGE, .value = 'e' };
    CHECK_EQ(sys(ioctl, now.engine, DMABUF_IMPORTER_SUBMIT, &fill), 0);
}

static void give_up(int thing)
{
    switch (thing) {
    case 0: CHECK_EQ(sys(close, now.memfd), 0); break;
    case 1: CHECK_EQ(sys(close, now.buffer), 0); break;
    case 2: CHECK_EQ(sys(munmap, now.file, SIZE), 0); break;
    case 3: CHECK_EQ(sys(munmap, now.shown, SIZE), 0); break;
    case 4: CHECK_EQ(sys(close, now.dynamic), 0); break;
    case 5: CHECK_EQ(sys(close, now.engine), 0); break;
    }
}

// Who is left still sees the buffer; in a design that mirrors its maker's mapping nothing is there without that.
static void check_left(unsigned gone)
{
    bool usable = !needs_maker || (gone & 1 << 2) == 0;
    char byte;
    if ((gone & 1 << 3) == 0 && !usable)
        CHECK_FAULT(fault_of_read(now.shown), SIGBUS, BUS_ADRERR, now.shown);
    if ((gone & 1 << 4) == 0 && !usable)
        CHECK_EQ(device_read(now.dynamic, now.handle, &byte), -EFAULT);
    if ((gone & 1 << 3) == 0 && usable)
        CHECK_EQ(now.shown[0], 'a');
    if ((gone & 1 << 4) == 0 && usable)
        device_reads(now.dynamic, now.handle, 'a');
    if ((gone & 1 << 2) == 0)
        CHECK_EQ(now.file[0], 'a');
    // Who closes the engine waits for its jobs.
    if ((gone & 1 << 5) != 0 && (gone & 1 << 2) == 0)
        CHECK_EQ(now.file[PAGE], 'e');
}

static unsigned long orders;

static void try_orders(int *order, int depth, unsigned taken)
{
    if (depth == THINGS) {
        set_up();
        unsigned gone = 0;
        for (int i = 0; i < THINGS; i++) {
            give_up(order[i]);
            gone |= 1U << order[i];
            check_left(gone);
        }
        orders++;
        return;
    }
    for (int thing = 0; thing < THINGS; thing++) {
        if ((taken & 1U << thing) != 0)
            continue;
        order[depth] = thing;
        try_orders(order, depth + 1, taken | 1U << thing);
    }
}

static void check_many(long rounds)
{
    int memfd = memfd_sealed(SIZE, 0), importers[2] = { device_open(DMABUF_IMPORTER_STATIC), device_open(DMABUF_IMPORTER_DYNAMIC) };
    char *file = map_shared(memfd, SIZE);
    for (long round = 0; round < rounds; round++) {
        file[0] = (char)round;
        int buffer = (int)udmabuf_create(device, memfd, 0, SIZE);
        REQUIRE(buffer >= 0);
        char *shown = map_shared(buffer, SIZE);
        CHECK_EQ(shown[0], (char)round);
        int importer = importers[round & 1];
        unsigned handle = attach(importer, buffer);
        device_reads(importer, handle, (char)round);
        CHECK_EQ(sys(ioctl, importer, DMABUF_IMPORTER_DETACH, &handle), 0);
        sys(munmap, shown, SIZE);
        sys(close, buffer);
    }
    sys(munmap, file, SIZE);
    sys(close, memfd);
    sys(close, importers[0]);
    sys(close, importers[1]);
    passed("made and unmade again and again");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    long rounds = arg_number(argc, argv, 1, 100);
    needs_maker = argc > 2;
    catch_faults();
    device = udmabuf_open();
    REQUIRE(device >= 0);
    int order[THINGS];
    try_orders(order, 0, 0);
    CHECK_EQ(orders, 720);
    passed("given up in every order");
    check_many(rounds);
    return report();
}

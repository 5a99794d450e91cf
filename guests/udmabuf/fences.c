// Who waits for a device: SYNC, poll, and sync files, while the engine has jobs under way. A wait that ends too early finds memory that is not written yet.
#include "guest/udmabuf.h"
#include "dmabuf_importer.h"

#include <linux/poll.h>
#include <linux/time_types.h>

enum { PAGES = 64, SIZE = PAGES * PAGE, ROUNDS = 8 };

static int device, memfd, buffer, engine;
static unsigned handle;
static char *file;

static unsigned long submit(unsigned op, char value)
{
    struct dmabuf_importer_transfer job = { .handle = handle, .op = op, .length = SIZE, .value = (unsigned char)value };
    REQUIRE(sys(ioctl, engine, DMABUF_IMPORTER_SUBMIT, &job) == 0);
    return job.job;
}

static unsigned long result_of(unsigned long job)
{
    struct dmabuf_importer_wait wait = { .job = job, .timeout_ms = 60000 };
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_WAIT, &wait), 0);
    CHECK_EQ(wait.error, 0);
    return wait.value;
}

// The last page is written last.
static void check_written(char value)
{
    CHECK_EQ(file[SIZE - 1], value);
}

static long poll_for(int fd, short events)
{
    struct pollfd poll = { .fd = fd, .events = events };
    CHECK_EQ(sys(ppoll, &poll, 1, 0, 0, 8), 1);
    return poll.revents;
}

static int export_sync_file(unsigned flags)
{
    struct dma_buf_export_sync_file export = { .flags = flags, .fd = -1 };
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export), 0);
    return export.fd;
}

static void check_sync(void)
{
    for (char round = 1; round <= ROUNDS; round++) {
        unsigned long job = submit(DMABUF_IMPORTER_FILL, round);
        CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
        check_written(round);
        CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
        result_of(job);
        // Who writes waits for readers, too: the sum is that of what was there before.
        job = submit(DMABUF_IMPORTER_SUM, 0);
        CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE), 0);
        memset(file, 99, SIZE);
        CHECK_EQ(dma_buf_sync(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE), 0);
        CHECK_EQ(result_of(job), (unsigned long)round * SIZE);
    }
    passed("SYNC waits for the device");
}

static void check_poll(void)
{
    for (char round = 1; round <= ROUNDS; round++) {
        unsigned long job = submit(DMABUF_IMPORTER_FILL, round);
        CHECK_EQ(poll_for(buffer, POLLIN), POLLIN);
        check_written(round);
        result_of(job);
        job = submit(DMABUF_IMPORTER_SUM, 0);
        CHECK_EQ(poll_for(buffer, POLLIN), POLLIN);     // Readers do not keep readers away.
        CHECK_EQ(poll_for(buffer, POLLOUT), POLLOUT);
        memset(file, 99, SIZE);
        CHECK_EQ(result_of(job), (unsigned long)round * SIZE);
    }
    passed("poll waits for the device");
}

static void check_sync_files(void)
{
    for (char round = 1; round <= ROUNDS; round++) {
        unsigned long job = submit(DMABUF_IMPORTER_FILL, round);
        int fence = export_sync_file(DMA_BUF_SYNC_READ);
        // Given to another buffer, whose users then wait for the job as well.
        int other = (int)udmabuf_create(device, memfd, 0, SIZE);
        REQUIRE(other >= 0);
        struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_WRITE, .fd = fence };
        CHECK_EQ(sys(ioctl, other, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import), 0);
        CHECK_EQ(dma_buf_sync(other, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
        check_written(round);
        CHECK_EQ(poll_for(fence, POLLIN), POLLIN);
        sys(close, fence);
        sys(close, other);
        result_of(job);
    }
    struct dma_buf_export_sync_file bad = { .flags = 4, .fd = -1 };
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &bad), -EINVAL);
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 8), -EFAULT);
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, 8), -EFAULT);
    struct dma_buf_import_sync_file none = { .flags = DMA_BUF_SYNC_READ, .fd = 99 };
    CHECK_EQ(sys(ioctl, buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &none), -EINVAL);
    passed("sync files wait for the device");
}

static void check_misuse(void)
{
    struct dmabuf_importer_transfer job = { .handle = handle, .op = DMABUF_IMPORTER_READ, .length = 1, .pointer = (unsigned long)file };
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_SUBMIT, &job), -EINVAL);
    struct dmabuf_importer_wait wait = { .job = submit(DMABUF_IMPORTER_FILL, 1), .timeout_ms = 0 };
    long result = sys(ioctl, engine, DMABUF_IMPORTER_WAIT, &wait);
    CHECK(result == 0 || result == -ETIME);
    if (result != 0)
        result_of(wait.job);
    struct dmabuf_importer_scanout scanout = { .handle = 77, .run = 1, .length = SIZE };
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_SCANOUT, &scanout), -ENOENT);
    scanout = (struct dmabuf_importer_scanout){ .handle = handle, .run = 1, .offset = SIZE, .length = 1 };
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_SCANOUT, &scanout), -EINVAL);
    // Shown, detached, and closed while it is shown.
    scanout = (struct dmabuf_importer_scanout){ .handle = handle, .run = 1, .length = SIZE };
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_SCANOUT, &scanout), 0);
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_DETACH, &handle), 0);
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_DETACH, &handle), -ENOENT);
    struct dmabuf_importer_frame frame;
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_FRAME, &frame), -EINVAL);
    struct dmabuf_importer_attach attach = { .fd = buffer };
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_ATTACH, &attach), 0);
    scanout.handle = attach.handle;
    CHECK_EQ(sys(ioctl, engine, DMABUF_IMPORTER_SCANOUT, &scanout), 0);
    CHECK_EQ(sys(close, engine), 0);
    passed("misuse of the engine");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    device = udmabuf_open();
    memfd = memfd_sealed(SIZE, 0);
    file = map_shared(memfd, SIZE);
    buffer = (int)udmabuf_create(device, memfd, 0, SIZE);
    engine = (int)sys(openat, AT_FDCWD, DMABUF_IMPORTER_ENGINE, O_RDWR, 0);
    REQUIRE(buffer >= 0 && engine >= 0);
    struct dmabuf_importer_attach attach = { .fd = buffer };
    REQUIRE(sys(ioctl, engine, DMABUF_IMPORTER_ATTACH, &attach) == 0);
    handle = attach.handle;
    check_sync();
    check_poll();
    check_sync_files();
    check_misuse();
    sys(close, buffer);
    return report();
}

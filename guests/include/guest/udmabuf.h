// What the guests of /dev/udmabuf have in common.
#pragma once

#include "guest.h"
#include "guest/signals.h"

#include <asm/mman.h>
#include <linux/dma-buf.h>
#include <linux/memfd.h>
#include <linux/stat.h>
#include <linux/udmabuf.h>

#define RW (PROT_READ | PROT_WRITE)
#define HUGE (2UL << 20)
#define PUNCH (2 | 1)                   // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

static inline int udmabuf_open(void)
{
    return (int)sys(openat, AT_FDCWD, "/dev/udmabuf", O_RDWR, 0);
}

// A memfd that may be made a buffer of.
static inline int memfd_sealed(unsigned long size, unsigned flags)
{
    int fd = (int)sys(memfd_create, "udmabuf-test", flags | MFD_ALLOW_SEALING);
    if (fd < 0)
        return fd;
    REQUIRE(sys(fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    REQUIRE(sys(ftruncate, fd, size) == 0);
    return fd;
}

static inline long udmabuf_create(int device, int memfd, unsigned long offset, unsigned long size)
{
    struct udmabuf_create create = { .memfd = (unsigned)memfd, .flags = UDMABUF_FLAGS_CLOEXEC, .offset = offset, .size = size };
    return sys(ioctl, device, UDMABUF_CREATE, &create);
}

static inline char *map_shared(int fd, unsigned long size)
{
    long at = mmap6(0, size, RW, MAP_SHARED, fd, 0);
    REQUIRE(is_address(at));
    return (char *)at;
}

static inline void punch(int memfd, unsigned long offset, unsigned long size)
{
    CHECK_EQ(sys(fallocate, memfd, PUNCH, offset, size), 0);
}

static inline long dma_buf_sync(int buffer, unsigned long flags)
{
    struct dma_buf_sync sync = { .flags = flags };
    return sys(ioctl, buffer, DMA_BUF_IOCTL_SYNC, &sync);
}

// Making, filling and attaching a region of /sys/fs/mshare, for programs that measure rather than test it.
#pragma once

#include "guest.h"
#include "mshare.h"

#define GIB (1UL << 30)
#define REGION_ALIGNMENT (512 * GIB)    // what mshare_info says with four levels of tables
#define REGION_START (4 * REGION_ALIGNMENT)

static const char *const region_path = "/sys/fs/mshare/region";

static inline unsigned long region_size(unsigned long bytes)
{
    return (bytes + REGION_ALIGNMENT - 1) & -REGION_ALIGNMENT;
}

// Creates the region with one writable mapping at its start: of a file, or of anonymous memory with fd -1.
static inline int region_create(unsigned long bytes, int fd, unsigned flags)
{
    int region = (int)sys(openat, AT_FDCWD, region_path, O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(region >= 0);
    struct mshare_info info = { .start = REGION_START, .size = region_size(bytes) };
    REQUIRE(sys(ioctl, region, MSHAREFS_SET_SIZE, &info) == 0);
    struct mshare_create create = {
        .addr = REGION_START, .size = bytes, .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED | MAP_FIXED | flags | (fd < 0 ? MAP_ANONYMOUS : 0), .fd = (__u32)fd,
    };
    REQUIRE(sys(ioctl, region, MSHAREFS_CREATE_MAPPING, &create) == 0);
    return region;
}

// Maps the whole region at its own address.
static inline char *region_map(int region, unsigned long bytes)
{
    long mapped = mmap6((void *)REGION_START, region_size(bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, region, 0);
    REQUIRE(mapped == (long)REGION_START);
    return (char *)mapped;
}

// As an unrelated process does it: by name.
static inline char *region_attach(unsigned long bytes)
{
    int region = (int)sys(openat, AT_FDCWD, region_path, O_RDWR, 0);
    REQUIRE(region >= 0);
    char *mapped = region_map(region, bytes);
    sys(close, region);
    return mapped;
}

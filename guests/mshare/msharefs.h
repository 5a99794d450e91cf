// What the programs of this folder do with regions.
#pragma once

#include "guest.h"
#include "guest/signals.h"
#include "mshare.h"

#define UNIT (1UL << 39)
#define BASE (4 * UNIT)

enum { READ_WRITE = PROT_READ | PROT_WRITE, ANON_SHARED = MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS };

// A new region that has a place; its descriptor.
static inline int region_make(const char *name, unsigned long start, unsigned long size)
{
    int fd = (int)sys(openat, AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(fd >= 0);
    struct mshare_info info = { start, size };
    CHECK_EQ(sys(ioctl, fd, MSHAREFS_SET_SIZE, &info), 0);
    return fd;
}

// The raw result of MSHAREFS_CREATE_MAPPING.
static inline long region_put(int fd, unsigned long address, unsigned long size, int prot, int flags, int object, unsigned long offset)
{
    struct mshare_create create = { address, size, offset, (unsigned)prot, (unsigned)flags, (unsigned)object };
    return sys(ioctl, fd, MSHAREFS_CREATE_MAPPING, &create);
}

static inline long region_unmap(int fd, unsigned long address, unsigned long size)
{
    struct mshare_unmap unmap = { address, size };
    return sys(ioctl, fd, MSHAREFS_X_UNMAP, &unmap);
}

static inline long region_protect(int fd, unsigned long address, unsigned long size, int prot)
{
    struct mshare_protect protect = { address, size, (unsigned)prot, 0 };
    return sys(ioctl, fd, MSHAREFS_X_PROTECT, &protect);
}

// The raw result of mmap.
static inline long region_map(int fd, unsigned long address, unsigned long size, int prot, int flags, unsigned long offset)
{
    return sys(mmap, address, size, prot, flags, fd, offset);
}

#define WORD(address) (*(volatile unsigned long *)(address))
#define CHECK_UNMAPPED(address) CHECK_FAULT(fault_of_read((void *)(address)), SIGSEGV, SEGV_MAPERR, (unsigned long)(address))
#define CHECK_NOT_WRITABLE(address) CHECK_FAULT(fault_of_write((void *)(address)), SIGSEGV, SEGV_ACCERR, (unsigned long)(address))

#pragma once

#include <linux/memfd.h>
#include <linux/mman.h>

// A tiny general allocator over mmap; memory is 16-byte aligned and not cleared. Thread-safe.
void *allocate(size_t bytes);
void release(void *memory);

// Anonymous private pages, or a failed check. mmap6 is the call itself, with its raw result.
void *map_pages(size_t bytes, int protection);
static inline long mmap6(void *address, size_t bytes, int protection, int flags, int fd, long offset)
{
    return sys(mmap, address, bytes, protection, flags, fd, offset);
}

// A result of mmap6/mremap that is an address and not an errno.
static inline bool is_address(long result)
{
    return (unsigned long)result < -4095UL;
}

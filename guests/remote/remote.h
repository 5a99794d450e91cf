// What the guests of /dev/remote-map and /dev/remote-mirror have in common.
#pragma once

#include "guest.h"
#include "guest/signals.h"
#include "remote_mapping.h"
#include "remote_mirror.h"

#include <asm/mman.h>

#define RW (PROT_READ | PROT_WRITE)

static inline int remote_open(const char *device)
{
    int fd = (int)sys(openat, AT_FDCWD, device, O_RDWR | O_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    return fd;
}

static inline long mirror_attach(int device, long pid, unsigned long start, unsigned long length)
{
    struct remote_mirror_attach attach = { .pid = (unsigned)pid, .start = start, .length = length };
    return sys(ioctl, device, REMOTE_MIRROR_ATTACH, &attach);
}

static inline long remote_map(int device, long pid, unsigned long requested, const volatile void *mapped)
{
    struct remote_map_request request = { .req_pid = (unsigned)pid, .req_hva = requested, .map_hva = (unsigned long)mapped };
    return sys(ioctl, device, REMOTE_MAP, &request);
}

static inline long remote_unmap(int device, const volatile void *mapped)
{
    return sys(ioctl, device, REMOTE_UNMAP, mapped);
}

static inline void *map_anonymous(void *address, unsigned long size, int flags)
{
    long at = mmap6(address, size, RW, flags | MAP_ANONYMOUS, -1, 0);
    REQUIRE(is_address(at));
    return (void *)at;
}

// A word read or written, or the signal that this raised.
typedef struct { volatile unsigned long *at; unsigned long value; } word_access;

static void read_word(void *argument)
{
    word_access *access = argument;
    access->value = *access->at;
}

static void write_word(void *argument)
{
    word_access *access = argument;
    *access->at = access->value;
}

static inline int try_read(const volatile void *at, unsigned long *value)
{
    word_access access = { .at = (volatile unsigned long *)at };
    int signal = fault_of(read_word, &access).signal;
    *value = access.value;
    return signal;
}

static inline int try_write(volatile void *at, unsigned long value)
{
    word_access access = { .at = at, .value = value };
    return fault_of(write_word, &access).signal;
}

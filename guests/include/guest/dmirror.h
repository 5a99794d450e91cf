// /dev/hmm_dmirror*: a device that shares our address space. The numbers are those of the kernel's lib/test_hmm_uapi.h, which is not
// among the installed headers.
#pragma once

#include "guest/signals.h"

struct dmirror_command {
    uint64_t address;   // of our memory, page-aligned
    uint64_t buffer;    // data of READ and WRITE, the bytes of SNAPSHOT
    uint64_t pages;
    uint64_t done;      // out: pages done
    uint64_t faults;    // out: how often the device had to ask for pages
};

enum {
    DMIRROR_READ = 0xc0284800, DMIRROR_WRITE, DMIRROR_MIGRATE_TO_DEV, DMIRROR_MIGRATE_TO_SYS, DMIRROR_SNAPSHOT,
    DMIRROR_EXCLUSIVE, DMIRROR_CHECK_EXCLUSIVE, DMIRROR_RELEASE,
};

enum {
    PROT_OF_NONE = 0, PROT_OF_READ = 1, PROT_OF_WRITE = 2, PROT_OF_PMD = 4, PROT_OF_ZERO = 0x10, PROT_OF_LOCAL = 0x20,
    PROT_OF_ERROR = 0xff,
};

enum { RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS, SHARED = MAP_SHARED | MAP_ANONYMOUS };

static struct dmirror_command last;     // what the last command gave back

static inline int dmirror_open(int number)
{
    char name[] = "/dev/hmm_dmirror0";
    name[sizeof(name) - 2] = (char)('0' + number);
    return (int)sys(openat, AT_FDCWD, name, O_RDWR, 0);
}

// One command; the raw result.
static inline long dmirror(int fd, unsigned command, void *address, void *buffer, long pages)
{
    last = (struct dmirror_command){ (uint64_t)address, (uint64_t)buffer, (uint64_t)pages, 77, 77 };
    return sys(ioctl, fd, command, &last);
}

// A command that must do all pages.
#define CHECK_ALL(fd, command, address, buffer, count) \
    do { \
        CHECK_EQ(dmirror(fd, command, address, buffer, count), 0); \
        CHECK_EQ(last.done, count); \
    } while (0)

// As CHECK_ALL, for READ and WRITE: the device asked once.
#define CHECK_ACCESS(fd, command, address, buffer, count) \
    do { \
        CHECK_ALL(fd, command, address, buffer, count); \
        CHECK_EQ(last.faults, 1); \
    } while (0)

static inline void check_snapshot(int fd, void *address, long pages, const unsigned char *expected, int line)
{
    unsigned char bytes[64];
    memset(bytes, 0xee, sizeof(bytes));
    CHECK_EQ(dmirror(fd, DMIRROR_SNAPSHOT, address, bytes, pages), 0);
    CHECK_EQ(last.done, pages);
    for (long i = 0; i < pages; i++)
        check_equal(bytes[i], expected[i], __FILE__, line, "a byte of the snapshot");
}

#define CHECK_SNAPSHOT(fd, address, pages, ...) \
    check_snapshot(fd, address, pages, (const unsigned char[]){ __VA_ARGS__ }, __LINE__)

// Memory that every test fills anew, and where the device's view of it goes.
static inline void fill(void *memory, size_t bytes, unsigned start)
{
    unsigned *words = memory;
    for (size_t i = 0; i < bytes / sizeof(*words); i++)
        words[i] = start + (unsigned)i;
}

static inline void check_filled(const void *memory, size_t bytes, unsigned start, int line)
{
    const unsigned *words = memory;
    for (size_t i = 0; i < bytes / sizeof(*words); i++) {
        if (words[i] != start + (unsigned)i) {
            check_equal(words[i], start + (unsigned)i, __FILE__, line, "a word of the memory");
            print("  at word %lu\n", i);
            return;
        }
    }
}

#define CHECK_FILLED(memory, bytes, start) check_filled(memory, bytes, start, __LINE__)

// The sequence of the kernel's selftest for udmabuf (tools/testing/selftests/drivers/dma-buf/udmabuf.c), as the thread of July 2023 has it: the checks of
// UDMABUF_CREATE, a buffer of a whole memfd, and buffers of 4 x 4 pages from whose memfds a third is punched out before it is filled anew. What such a buffer
// shows then depends on the design of the driver. Argument: pages of 2 MiB for the last part; without it that part is left out.
#include "guest/udmabuf.h"

enum { ENTRIES = 4, PAGES = 4, MEMFD_PAGES = 1024 };

static int device;

static long create_list(int memfd, unsigned long size)
{
    struct {
        struct udmabuf_create_list head;
        struct udmabuf_create_item items[ENTRIES];
    } list = { .head = { .flags = UDMABUF_FLAGS_CLOEXEC, .count = ENTRIES } };
    for (unsigned long i = 0; i < ENTRIES; i++)
        list.items[i] = (struct udmabuf_create_item){ .memfd = (unsigned)memfd, .offset = i * (size / ENTRIES & -PAGE), .size = PAGES * PAGE };
    return sys(ioctl, device, UDMABUF_CREATE_LIST, &list);
}

static void write_each(char *memory, unsigned long size, unsigned long step, char value)
{
    for (unsigned long at = 0; at < size; at += step)
        memory[at] = value;
}

// Every page of the buffer against its page of the memfd; says where they differ first.
static void compare(const char *file, const char *buffer, unsigned long size)
{
    for (unsigned long i = 0, page = 0; i < ENTRIES; i++) {
        for (unsigned long j = 0; j < PAGES; j++, page++) {
            char have = buffer[page * PAGE], want = file[i * (size / ENTRIES & -PAGE) + j * PAGE];
            if (have == want)
                continue;
            print("page %lu of the buffer has '%c', its memfd '%c'\n", page, have ? have : '0', want ? want : '0');
            CHECK(have == want);
            return;
        }
    }
}

static void check_create(void)
{
    int memfd = memfd_sealed(PAGES * PAGE, 0);
    CHECK_EQ(udmabuf_create(device, memfd, PAGE / 2, PAGES * PAGE), -EINVAL);
    passed("test-1 offset not page aligned");
    CHECK_EQ(udmabuf_create(device, memfd, 0, PAGES * PAGE / 8 + 1), -EINVAL);
    passed("test-2 size not page aligned");
    CHECK_EQ(udmabuf_create(device, 0, 0, PAGES * PAGE), -EBADFD);
    passed("test-3 no memfd");
    char *memory = map_shared(memfd, PAGES * PAGE);
    write_each(memory, PAGES * PAGE, PAGE, 'a');
    long buffer = udmabuf_create(device, memfd, 0, PAGES * PAGE);
    CHECK(buffer >= 0);
    sys(munmap, memory, PAGES * PAGE);
    sys(close, buffer);
    sys(close, memfd);
    passed("test-4 a buffer");
}

static void check_punch(const char *name, unsigned long page, unsigned long pages, unsigned flags)
{
    unsigned long size = pages * page;
    int memfd = memfd_sealed(size, flags);
    REQUIRE(memfd >= 0);
    char *file = map_shared(memfd, size);
    write_each(file, size, page, 'a');
    long fd = create_list(memfd, size);
    REQUIRE(fd >= 0);
    char *buffer = map_shared((int)fd, ENTRIES * PAGES * PAGE);
    compare(file, buffer, size);
    write_each(file, size, page, 'b');
    compare(file, buffer, size);
    punch(memfd, 0, pages / 3 * page);
    write_each(file, size, page, 'c');
    compare(file, buffer, size);
    sys(munmap, file, size);
    sys(munmap, buffer, ENTRIES * PAGES * PAGE);
    sys(close, fd);
    sys(close, memfd);
    passed(name);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    device = udmabuf_open();
    REQUIRE(device >= 0);
    check_create();
    check_punch("test-5 a hole in a memfd", PAGE, MEMFD_PAGES, 0);
    if (argc > 1)
        check_punch("test-6 a hole in a memfd of huge pages", HUGE, (unsigned long)arg_number(argc, argv, 1, 0), MFD_HUGETLB);
    return report();
}

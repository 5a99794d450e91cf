// What mmap and its relatives promise, call by call, with their errno values.
#include "guest.h"
#include "guest/signals.h"

enum { RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

// Room of our own, so that the layout of everything else does not matter.
static char *area;
enum { AREA_PAGES = 64 };

static void check_arguments(void)
{
    CHECK_EQ(mmap6(NULL, 0, RW, ANONYMOUS, -1, 0), -EINVAL);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), -EINVAL);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_PRIVATE, -1, 0), -EBADF);
    CHECK_EQ(mmap6(NULL, PAGE, RW, ANONYMOUS, -1, 100), -EINVAL);
    CHECK_EQ(mmap6(area + 1, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0), -EINVAL);
    CHECK_EQ(mmap6(NULL, 1ul << 62, RW, ANONYMOUS, -1, 0), -ENOMEM);
    CHECK_EQ(mmap6(NULL, ~0ul, RW, ANONYMOUS, -1, 0), -ENOMEM);
    CHECK_EQ(mmap6((void *)0x800000000000, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0), -ENOMEM);
    CHECK_EQ(mmap6(area, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), -EEXIST);
    CHECK_EQ(sys(munmap, area + 1, PAGE), -EINVAL);
    CHECK_EQ(sys(munmap, area, 0), -EINVAL);
    CHECK_EQ(sys(munmap, 0xffffffffff000000, PAGE), -EINVAL);
    CHECK_EQ(sys(mprotect, area + 1, PAGE, PROT_READ), -EINVAL);
    CHECK_EQ(sys(mprotect, area, 0, PROT_READ), 0);
    CHECK_EQ(sys(mprotect, area, PAGE, 0x100), -EINVAL);
    CHECK_EQ(sys(madvise, area, PAGE, 9999), -EINVAL);
    CHECK_EQ(sys(madvise, area + 1, PAGE, MADV_DONTNEED), -EINVAL);
    CHECK_EQ(sys(msync, area + 1, PAGE, MS_SYNC), -EINVAL);
    CHECK_EQ(sys(msync, area, PAGE, MS_SYNC | MS_ASYNC), -EINVAL);
    passed("arguments");
}

static void check_placement(void)
{
    char *a = map_pages(PAGE, RW);
    CHECK_EQ((uintptr_t)a % PAGE, 0);
    sys(munmap, area + 8 * PAGE, 4 * PAGE);
    CHECK_EQ(mmap6(area + 9 * PAGE, PAGE, RW, ANONYMOUS, -1, 0), area + 9 * PAGE);
    CHECK_EQ(mmap6(area + 10 * PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), area + 10 * PAGE);
    CHECK(mmap6(area + 9 * PAGE, PAGE, RW, ANONYMOUS, -1, 0) != (long)(area + 9 * PAGE));
    CHECK_EQ(mmap6(area + 8 * PAGE, 4 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0), area + 8 * PAGE);
    long low = mmap6(NULL, PAGE, RW, ANONYMOUS | MAP_32BIT, -1, 0);
    CHECK(low > 0 && low < 0x80000000);
    *(volatile char *)low = 1;
    sys(munmap, low, PAGE);
    sys(munmap, a, PAGE);
    passed("placement");
}

static void check_split(void)
{
    memset(area, 3, 8 * PAGE);
    CHECK_EQ(sys(mprotect, area + 2 * PAGE, PAGE, PROT_READ), 0);
    CHECK_EQ(sys(mprotect, area + 4 * PAGE, PAGE, PROT_NONE), 0);
    CHECK_FAULT(fault_of_write(area + PAGE), 0, 0, 0);
    CHECK_FAULT(fault_of_write(area + 2 * PAGE), SIGSEGV, SEGV_ACCERR, area + 2 * PAGE);
    CHECK_FAULT(fault_of_read(area + 4 * PAGE), SIGSEGV, SEGV_ACCERR, area + 4 * PAGE);
    CHECK_FAULT(fault_of_write(area + 5 * PAGE), 0, 0, 0);
    CHECK_EQ(sys(munmap, area + 3 * PAGE, PAGE), 0);
    CHECK_EQ(sys(mprotect, area, 6 * PAGE, RW), -ENOMEM);
    CHECK_FAULT(fault_of_write(area + 2 * PAGE), 0, 0, 0);
    CHECK_EQ(sys(munmap, area + 3 * PAGE, PAGE), 0);
    mmap6(area, 8 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK_EQ(area[2 * PAGE], 0);
    passed("splitting");
}

static void check_remap(void)
{
    char *old = area + 16 * PAGE;
    for (int i = 0; i < 4; i++)
        old[i * PAGE] = (char)(i + 1);
    CHECK_EQ(sys(mremap, old, 4 * PAGE, 2 * PAGE, 0), old);
    CHECK_FAULT(fault_of_read(old + 2 * PAGE), SIGSEGV, SEGV_MAPERR, old + 2 * PAGE);
    CHECK_EQ(sys(mremap, old, 2 * PAGE, 4 * PAGE, 0), old);
    CHECK_EQ(old[PAGE], 2);
    CHECK_EQ(old[3 * PAGE], 0);
    CHECK_EQ(sys(mremap, old, 4 * PAGE, 5 * PAGE, 0), -ENOMEM);
    long moved = sys(mremap, old, 4 * PAGE, 100 * PAGE, MREMAP_MAYMOVE);
    CHECK(is_address(moved) && moved != (long)old);
    CHECK_EQ(*(char *)(moved + PAGE), 2);
    CHECK_EQ(*(char *)(moved + 99 * PAGE), 0);
    CHECK_FAULT(fault_of_read(old), SIGSEGV, SEGV_MAPERR, old);
    CHECK_EQ(sys(mremap, moved, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, old), old);
    CHECK_EQ(old[PAGE], 2);
    CHECK_EQ(sys(mremap, old, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, old + PAGE), -EINVAL);
    CHECK_EQ(sys(mremap, old + 1, PAGE, PAGE, 0), -EINVAL);
    CHECK_EQ(sys(mremap, old, PAGE, 0, 0), -EINVAL);
    CHECK_EQ(sys(mremap, old, PAGE, PAGE, MREMAP_FIXED, area), -EINVAL);
    CHECK_EQ(sys(mremap, old, PAGE, PAGE, 64), -EINVAL);
    CHECK_EQ(sys(mremap, moved, PAGE, PAGE, 0), -EFAULT);
    long kept = sys(mremap, old, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
    CHECK(is_address(kept) && kept != (long)old);
    CHECK_EQ(*(char *)kept, 1);
    CHECK_EQ(old[0], 0);
    sys(munmap, kept, PAGE);
    sys(munmap, moved + 4 * PAGE, 96 * PAGE);
    mmap6(old, 4 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);
    passed("mremap");
}

static void check_advice(void)
{
    char *p = area + 24 * PAGE;
    memset(p, 9, 4 * PAGE);
    CHECK_EQ(sys(madvise, p + PAGE, 2 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(p[0], 9);
    CHECK_EQ(p[PAGE], 0);
    CHECK_EQ(p[2 * PAGE + 100], 0);
    CHECK_EQ(p[3 * PAGE], 9);
    CHECK_EQ(sys(madvise, p, 4 * PAGE, MADV_NORMAL), 0);
    CHECK_EQ(sys(madvise, p, 4 * PAGE, MADV_WILLNEED), 0);
    sys(munmap, p + PAGE, PAGE);
    CHECK_EQ(sys(madvise, p, 4 * PAGE, MADV_DONTNEED), -ENOMEM);
    CHECK_EQ(p[3 * PAGE], 0);
    mmap6(p, 4 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);

    unsigned char present[5] = { 0 };
    p[2 * PAGE] = 1;
    CHECK_EQ(sys(mincore, p, 4 * PAGE, present), 0);
    CHECK_EQ(present[0] & 1, 0);
    CHECK_EQ(present[2] & 1, 1);
    CHECK_EQ(sys(mincore, p + 1, PAGE, present), -EINVAL);
    CHECK_EQ(sys(mincore, p, PAGE, 8), -EFAULT);
    sys(munmap, p + 3 * PAGE, PAGE);
    CHECK_EQ(sys(mincore, p, 4 * PAGE, present), -ENOMEM);
    mmap6(p + 3 * PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK_EQ(sys(madvise, p, 2 * PAGE, MADV_DONTFORK), 0);
    p[0] = 5;
    long child = sys(fork);
    if (!child) {
        CHECK_FAULT(fault_of_read(p), SIGSEGV, SEGV_MAPERR, p);
        exit_group(failures());
    }
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    CHECK_EQ(sys(madvise, p, 2 * PAGE, MADV_DOFORK), 0);
    passed("madvise and mincore");
}

static void check_files(void)
{
    int fd = (int)sys(memfd_create, "mapped", 0);
    CHECK_EQ(sys(ftruncate, fd, 3 * PAGE), 0);
    char *shared = (char *)mmap6(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 0);
    char *offset = (char *)mmap6(NULL, PAGE, RW, MAP_SHARED, fd, PAGE);
    char *private = (char *)mmap6(NULL, 3 * PAGE, RW, MAP_PRIVATE, fd, 0);
    memcpy(shared + PAGE, "hello", 6);
    CHECK_TEXT(offset, "hello");
    CHECK_TEXT(private + PAGE, "hello");
    private[PAGE] = 'J';
    CHECK_TEXT(shared + PAGE, "hello");
    offset[0] = 'c';
    CHECK_TEXT(shared + PAGE, "cello");
    CHECK_TEXT(private + PAGE, "Jello");
    char text[8] = { 0 };
    CHECK_EQ(sys(pread64, fd, text, 6, PAGE), 6);
    CHECK_TEXT(text, "cello");
    CHECK_EQ(sys(pwrite64, fd, "y", 1, PAGE + 4), 1);
    CHECK_TEXT(offset, "celly");
    CHECK_EQ(sys(msync, shared, 3 * PAGE, MS_SYNC), 0);
    CHECK_EQ(sys(msync, shared, 3 * PAGE, MS_ASYNC), 0);
    CHECK_EQ(sys(madvise, private, 3 * PAGE, MADV_DONTNEED), 0);
    CHECK_TEXT(private + PAGE, "celly");
    CHECK_EQ(mmap6(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100), -EINVAL);
    CHECK_EQ(sys(madvise, shared, PAGE, MADV_REMOVE), 0);
    CHECK_EQ(sys(fallocate, fd, 3, PAGE, PAGE), 0);
    CHECK_EQ(shared[PAGE], 0);
    sys(munmap, shared, 3 * PAGE);
    sys(munmap, offset, PAGE);
    sys(munmap, private, 3 * PAGE);

    int seals = F_SEAL_WRITE | F_SEAL_GROW;
    int sealed = (int)sys(memfd_create, "sealed", MFD_ALLOW_SEALING);
    sys(ftruncate, sealed, PAGE);
    CHECK_EQ(sys(fcntl, sealed, F_ADD_SEALS, seals), 0);
    CHECK_EQ(sys(fcntl, sealed, F_GET_SEALS), seals);
    CHECK_EQ(sys(write, sealed, "x", 1), -EPERM);
    CHECK_EQ(sys(ftruncate, sealed, 2 * PAGE), -EPERM);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_SHARED, sealed, 0), -EPERM);
    CHECK_EQ(sys(ftruncate, sealed, 0), 0);
    CHECK_EQ(sys(fcntl, fd, F_ADD_SEALS, seals), -EPERM);
    sys(close, sealed);
    sys(close, fd);

    int read_only = (int)sys(open, "/proc/self/exe", O_RDONLY);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_SHARED, read_only, 0), -EACCES);
    char *image = (char *)mmap6(NULL, PAGE, RW, MAP_PRIVATE, read_only, 0);
    CHECK(!memcmp(image, "\x7f" "ELF", 4));
    image[0] = 0;
    sys(munmap, image, PAGE);
    sys(close, read_only);
    int ends[2];
    sys(pipe2, ends, 0);
    CHECK_EQ(mmap6(NULL, PAGE, PROT_READ, MAP_SHARED, ends[0], 0), -ENODEV);
    sys(close, ends[0]);
    sys(close, ends[1]);
    passed("files");
}

static void check_break(void)
{
    long start = sys(brk, 0);
    CHECK_EQ(sys(brk, start + 3 * PAGE), start + 3 * PAGE);
    memset((void *)start, 4, 3 * PAGE);
    CHECK_EQ(sys(brk, start + PAGE), start + PAGE);
    CHECK_FAULT(fault_of_read((char *)start + 2 * PAGE), SIGSEGV, SEGV_MAPERR, start + 2 * PAGE);
    CHECK_EQ(sys(brk, start + 2 * PAGE), start + 2 * PAGE);
    CHECK_EQ(((char *)start)[0], 4);
    CHECK_EQ(((char *)start)[PAGE], 0);
    CHECK_EQ(sys(brk, 1), start + 2 * PAGE);
    CHECK_EQ(sys(brk, 1ul << 50), start + 2 * PAGE);
    CHECK_EQ(sys(brk, start), start);
    passed("brk");
}

static void check_growing(void)
{
    char *top = area + 40 * PAGE;
    sys(munmap, area + 32 * PAGE, 8 * PAGE);
    CHECK_EQ(mmap6(area + 38 * PAGE, 2 * PAGE, RW, ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0), area + 38 * PAGE);
    top[-1] = 1;
    sys(mlock, top - PAGE, PAGE);
    CHECK_EQ(sys(munlock, top - PAGE, PAGE), 0);
    CHECK_EQ(sys(mlock, area + 33 * PAGE, PAGE), -ENOMEM);
    CHECK_EQ(sys(munmap, area + 38 * PAGE, 2 * PAGE), 0);
    long reserved = mmap6(NULL, 1ul << 40, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(is_address(reserved));
    CHECK_EQ(sys(mprotect, reserved + (1l << 39), PAGE, RW), 0);
    *(volatile char *)(reserved + (1l << 39)) = 1;
    CHECK_EQ(sys(munmap, reserved, 1ul << 40), 0);
    passed("reservations and locks");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    catch_faults();
    area = map_pages(AREA_PAGES * PAGE, RW);
    check_arguments();
    check_placement();
    check_split();
    check_remap();
    check_advice();
    check_files();
    check_break();
    check_growing();
    return report();
}

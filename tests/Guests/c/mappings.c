// Random memory calls with good and bad arguments, and accesses in between: every result and errno is printed. What differs between
// kernels' versions is left out: MREMAP_FIXED and MREMAP_DONTUNMAP, memory that is only executable, the lowest addresses.
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AREA 0x10000000ul
#define PAGE 4096ul
enum { PAGES = 64, STEPS = 300 };

static uint64_t state;
static sigjmp_buf after_fault;
static volatile int fault;
static int files[3];

static unsigned random_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 20);
}

static int once_in(int n) { return random_number() % n == 0; }

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    fault = number * 10 + info->si_code;
    siglongjmp(after_fault, 1);
}

static unsigned long an_address(void)
{
    unsigned long address = AREA + random_number() % PAGES * PAGE;
    return once_in(40) ? address + random_number() % PAGE : address;
}

static unsigned long a_length(void)
{
    unsigned long length = (1 + random_number() % 8) * PAGE;
    return once_in(20) ? 0 : once_in(20) ? length - random_number() % PAGE : once_in(80) ? ~0ul : once_in(80) ? -AREA : length;
}

static int a_protection(void)
{
    int protection = random_number() % 8;
    if ((protection & 5) == 4)
        protection |= 1;
    return once_in(30) ? protection | 0x10 : protection;
}

static long inside(long address, unsigned long length)
{
    if (address == -1 || ((unsigned long)address >= AREA && (unsigned long)address < AREA + 2 * PAGES * PAGE))
        return address;
    munmap((void *)address, length);
    return 1;
}

static long map_anonymous(unsigned long address, unsigned long length)
{
    int flags = MAP_ANONYMOUS | (once_in(3) ? MAP_SHARED : MAP_PRIVATE) | (once_in(4) ? 0 : MAP_FIXED);
    if (once_in(15))
        flags |= 0x100000; // MAP_FIXED_NOREPLACE
    if (once_in(20))
        flags |= MAP_LOCKED;
    if (once_in(20))
        flags |= MAP_POPULATE;
    if (once_in(20))
        flags |= MAP_GROWSDOWN;
    if (once_in(30))
        flags &= ~3;
    return inside(syscall(SYS_mmap, address, length, a_protection(), flags, -1, once_in(30) ? 1l : 0l), length);
}

static long map_file(unsigned long address, unsigned long length)
{
    int flags = MAP_FIXED | (once_in(2) ? MAP_PRIVATE : MAP_SHARED);
    if (once_in(30))
        flags = MAP_FIXED | 3; // MAP_SHARED_VALIDATE
    if (once_in(20))
        flags |= 1 << 22;
    long offset = random_number() % 14 * PAGE + (once_in(40) ? 3 : 0);
    return syscall(SYS_mmap, address, length, a_protection(), flags, files[once_in(12) ? 2 : random_number() % 2], offset);
}

static long advise(unsigned long address, unsigned long length)
{
    static const int advice[] = { 0, 1, 2, 3, 4, 4, 4, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 24, 5, 6, 99 };
    return syscall(SYS_madvise, address, length > AREA ? PAGE : length, advice[random_number() % (sizeof advice / sizeof *advice)]);
}

static long move(unsigned long address, unsigned long length)
{
    unsigned long wanted = once_in(2) ? length : a_length();
    if (wanted > AREA || length > AREA)
        return 0;
    return inside(syscall(SYS_mremap, address, length, wanted, random_number() % 2, 0), wanted);
}

static long touch(void)
{
    volatile unsigned char *at = (volatile unsigned char *)(AREA + random_number() % (PAGES + 8) * PAGE);
    unsigned char value = (unsigned char)random_number();
    fault = 0;
    if (sigsetjmp(after_fault, 1))
        return -fault;
    if (value & 1)
        *at = value;
    return *at;
}

static long step(int *what)
{
    static unsigned char present[1 << 16];
    unsigned long address = an_address(), length = a_length();
    char byte = (char)random_number();
    switch (*what = random_number() % 22) {
    case 0: case 1: case 2: return length > AREA ? 0 : map_anonymous(address, length);
    case 3: case 4: return map_file(address, length);
    case 5: return length > AREA ? 0 : syscall(SYS_munmap, address, length);
    case 6: case 7: case 8: return syscall(SYS_mprotect, address, length, a_protection());
    case 9: return move(address, length);
    case 10: case 11: return advise(address, length);
    case 12: return syscall(SYS_mincore, address, length, present);
    case 13: return syscall(SYS_msync, address, length, random_number() % 9);
    case 14: return syscall(SYS_mlock, address, length);
    case 15: return syscall(SYS_munlock, address, length);
    case 16: return ftruncate(files[random_number() % 2], random_number() % 17 * PAGE + random_number() % 3 * 100);
    case 17: return pwrite(files[random_number() % 2], &byte, 1, random_number() % 16 * PAGE);
    case 18: return pread(files[random_number() % 2], &byte, 1, random_number() % 16 * PAGE) + (byte & 255);
    default: return touch();
    }
}

int main(void)
{
    struct rlimit locked = { 1 << 20, 1 << 20 };
    setrlimit(RLIMIT_MEMLOCK, &locked);
    // The guest is nobody special, so neither is the program on the host.
    if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
        errno = 0;
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    for (int seed = 1; seed <= 4; seed++) {
        state = seed * 2654435761u + 12345;
        files[0] = (int)syscall(SYS_memfd_create, "a", 2);
        files[1] = (int)syscall(SYS_memfd_create, "b", 2);
        files[2] = 99;
        for (int i = 0; i < STEPS; i++) {
            int what;
            errno = 0;
            long result = step(&what);
            printf("%d %d: %d = %ld %d\n", seed, i, what, result, result == -1 ? errno : 0);
        }
        munmap((void *)AREA, 2 * PAGES * PAGE);
        close(files[0]);
        close(files[1]);
    }
    return 0;
}

// Self-modifying and cross-modifying code (SDM vol. 3, 8.1.3): selfmod [ROUNDS].
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

enum { READ_WRITE = PROT_READ | PROT_WRITE, ALL = PROT_READ | PROT_WRITE | PROT_EXEC };

typedef int (*function)(void);

static long rounds;

// mov $value, %eax; ret
static void emit_return(unsigned char *at, int value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

static void check_rewritten(void)
{
    unsigned char *page = map_pages(PAGE, ALL);
    for (int i = 0; i < rounds; i++) {
        emit_return(page, i * 3);
        CHECK_EQ(((function)page)(), i * 3);
        page[1] ^= 0xff;
        CHECK_EQ(((function)page)() & 0xff, (i * 3 & 0xff) ^ 0xff);
    }
    // Half-way through a page, across two pages, and many functions on one page.
    unsigned char *two = map_pages(2 * PAGE, ALL);
    for (int i = 0; i < rounds; i++) {
        emit_return(two + PAGE - 3, i);
        CHECK_EQ(((function)(two + PAGE - 3))(), i);
    }
    for (int i = 0; i < 200; i++)
        emit_return(two + i * 8, i);
    int sum = 0;
    for (int i = 0; i < 200; i++)
        sum += ((function)(two + i * 8))();
    CHECK_EQ(sum, 19900);
    sys(munmap, page, PAGE);
    sys(munmap, two, 2 * PAGE);
    passed("rewritten function");
}

// The running code changes an instruction just ahead of itself, in the same straight line.
static void check_ahead(void)
{
    static const unsigned char code[] = {
        0x48, 0x8d, 0x05, 0x07, 0x00, 0x00, 0x00,   // lea 7(%rip), %rax      -> the mov's opcode below
        0x40, 0x88, 0x78, 0x01,                     // mov %dil, 1(%rax)      -> its immediate
        0x90, 0x90, 0x90,                           // nop; nop; nop
        0xb8, 0x00, 0x00, 0x00, 0x00,               // mov $0, %eax
        0xc3,                                       // ret
    };
    unsigned char *page = map_pages(PAGE, ALL);
    memcpy(page, code, sizeof code);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(((int (*)(int))page)(i), i);
    sys(munmap, page, PAGE);
    passed("instruction just ahead");
}

static void check_second_mapping(void)
{
    int fd = (int)sys(memfd_create, "code", 0);
    sys(ftruncate, fd, PAGE);
    unsigned char *writable = (unsigned char *)mmap6(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    function run = (function)mmap6(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    for (int i = 0; i < rounds; i++) {
        emit_return(writable, i ^ 0x5555);
        CHECK_EQ(run(), i ^ 0x5555);
    }
    passed("second mapping");
    for (int i = 0; i < 50; i++) {
        unsigned char code[6];
        emit_return(code, i + 1000);
        sys(pwrite64, fd, code, sizeof code, 0);
        CHECK_EQ(run(), i + 1000);
    }
    passed("written by a system call");
    sys(munmap, writable, PAGE);
    sys(munmap, run, PAGE);
    sys(close, fd);
}

static void check_remapped(void)
{
    unsigned char *page = map_pages(PAGE, ALL);
    for (int i = 0; i < 50; i++) {
        emit_return(page, i);
        sys(mprotect, page, PAGE, PROT_READ | PROT_EXEC);
        CHECK_EQ(((function)page)(), i);
        sys(mprotect, page, PAGE, READ_WRITE);
    }
    for (int i = 0; i < 50; i++) {
        mmap6(page, PAGE, ALL, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        CHECK_EQ(page[0], 0);
        emit_return(page, -i);
        CHECK_EQ(((function)page)(), -i);
    }
    unsigned char *moved = (unsigned char *)sys(mremap, page, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    CHECK_EQ(((function)moved)(), -49);
    emit_return(moved + PAGE, 5);
    CHECK_EQ(((function)(moved + PAGE))(), 5);
    sys(madvise, moved, PAGE, MADV_DONTNEED);
    CHECK_EQ(moved[0], 0);
    emit_return(moved, 6);
    CHECK_EQ(((function)moved)(), 6);

    // Copy-on-write of a code page: the child's change is the child's alone.
    long child = sys(fork);
    if (!child) {
        emit_return(moved, 7);
        exit_group(((function)moved)());
    }
    int status = 0;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, EXITED(7));
    CHECK_EQ(((function)moved)(), 6);
    sys(munmap, moved, 2 * PAGE);
    passed("remapped code");
}

// One thread writes, another runs, with the handshake the manual asks for: a flag, then a serialising instruction.
static unsigned char *shared_code;
static uint32_t posted, done;

static void serialise(void)
{
    uint32_t a = 0, c = 0;
    __asm__ volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx", "memory");
}

static void runner(void *argument)
{
    (void)argument;
    for (uint32_t i = 1; i <= (uint32_t)rounds; i++) {
        while (LOAD_ACQUIRE(&posted) != i)
            thread_yield();
        serialise();
        CHECK_EQ(((function)shared_code)(), i * 5);
        STORE_RELEASE(&done, i);
    }
}

static void check_other_thread(void)
{
    int fd = (int)sys(memfd_create, "code", 0);
    sys(ftruncate, fd, PAGE);
    unsigned char *writable = (unsigned char *)mmap6(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    unsigned char *places[] = { (unsigned char *)mmap6(NULL, PAGE, ALL, MAP_SHARED, fd, 0), writable };
    for (int way = 0; way < 2; way++) {
        shared_code = places[0];
        posted = done = 0;
        thread *t = thread_start(runner, NULL);
        for (uint32_t i = 1; i <= (uint32_t)rounds; i++) {
            emit_return(places[way], (int)i * 5);
            STORE_RELEASE(&posted, i);
            while (LOAD_ACQUIRE(&done) != i)
                thread_yield();
        }
        thread_join(t);
    }
    sys(close, fd);
    passed("another thread");
}

// Asynchronous cross-modification of an aligned immediate: only the old or the new value may be seen.
static uint32_t finished;

static void keep_running(void *argument)
{
    (void)argument;
    int last = 0;
    while (!LOAD_ACQUIRE(&finished)) {
        int value = ((function)(shared_code + 3))();
        CHECK(value >= last);
        last = value;
    }
}

static void check_asynchronous(void)
{
    shared_code = map_pages(PAGE, ALL);
    emit_return(shared_code + 3, 0);
    thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = thread_start(keep_running, NULL);
    for (uint32_t i = 1; i <= (uint32_t)rounds; i++)
        STORE((uint32_t *)(shared_code + 4), i);
    STORE_RELEASE(&finished, 1);
    for (int i = 0; i < 2; i++)
        thread_join(threads[i]);
    sys(munmap, shared_code, PAGE);
    passed("asynchronous change");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    rounds = arg_number(argc, argv, 1, 200);
    check_rewritten();
    check_ahead();
    check_second_mapping();
    check_remapped();
    check_other_thread();
    check_asynchronous();
    return report();
}

// What a fault tells its handler: signal, si_code, si_addr; and that the program can go on.
#include "guest.h"
#include "guest/signals.h"

static volatile uint64_t trap_error, trap_number, trap_rip;

static void show_context(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    struct ucontext *c = context;
    trap_error = c->uc_mcontext.err;
    trap_number = c->uc_mcontext.trapno;
    trap_rip = c->uc_mcontext.rip;
    c->uc_mcontext.rip = c->uc_mcontext.r12;
}

static void check_segv(void)
{
    char *page = map_pages(3 * PAGE, PROT_READ | PROT_WRITE);
    memset(page, 1, 3 * PAGE);
    sys(mprotect, page + PAGE, PAGE, PROT_READ);
    sys(munmap, page + 2 * PAGE, PAGE);
    CHECK_FAULT(fault_of_write(page), 0, 0, 0);
    CHECK_FAULT(fault_of_read(page + PAGE), 0, 0, 0);
    CHECK_FAULT(fault_of_write(page + PAGE + 5), SIGSEGV, SEGV_ACCERR, page + PAGE + 5);
    CHECK_FAULT(fault_of_read(page + 2 * PAGE + 7), SIGSEGV, SEGV_MAPERR, page + 2 * PAGE + 7);
    CHECK_FAULT(fault_of_write(page + 2 * PAGE + 8), SIGSEGV, SEGV_MAPERR, page + 2 * PAGE + 8);
    CHECK_FAULT(fault_of_read((void *)0), SIGSEGV, SEGV_MAPERR, 0);
    CHECK_FAULT(fault_of_read((void *)0x123), SIGSEGV, SEGV_MAPERR, 0x123);
    CHECK_FAULT(fault_of_read((void *)0x8000000000000000), SIGSEGV, SI_KERNEL, 0);
    CHECK_FAULT(fault_of_read((void *)0xffffffff81000000), SIGSEGV, SEGV_MAPERR, 0xffffffff81000000);
    sys(mprotect, page, PAGE, PROT_NONE);
    CHECK_FAULT(fault_of_read(page + 1), SIGSEGV, SEGV_ACCERR, page + 1);
    sys(mprotect, page, PAGE, PROT_READ | PROT_WRITE);
    CHECK_EQ(page[1], 1);
    sys(munmap, page, 2 * PAGE);
    passed("SIGSEGV");
}

static void read_straddling(void *address)
{
    (void)*(volatile uint64_t *)address;
}

static void write_straddling(void *address)
{
    *(volatile uint64_t *)address = ~0ul;
}

static void check_straddle(void)
{
    char *page = map_pages(2 * PAGE, PROT_READ | PROT_WRITE);
    memset(page, 7, 2 * PAGE);
    sys(mprotect, page + PAGE, PAGE, PROT_READ);
    CHECK_FAULT(fault_of(read_straddling, page + PAGE - 3), 0, 0, 0);
    CHECK_FAULT(fault_of(write_straddling, page + PAGE - 3), SIGSEGV, SEGV_ACCERR, page + PAGE);
    for (int i = 1; i < 8; i++)
        CHECK_EQ(page[PAGE - i], 7);
    sys(munmap, page + PAGE, PAGE);
    CHECK_FAULT(fault_of(read_straddling, page + PAGE - 3), SIGSEGV, SEGV_MAPERR, page + PAGE);
    sys(munmap, page, PAGE);
    passed("page-crossing access");
}

static volatile int zero;

static void divide(void *argument)
{
    int x = (int)(long)argument;
    __asm__ volatile("cltd\n\tidivl %1" : "+a"(x) : "r"(zero) : "edx", "cc");
}

static void divide_overflow(void *unused)
{
    (void)unused;
    int x = (int)0x80000000, d = -1;
    __asm__ volatile("cltd\n\tidivl %1" : "+a"(x) : "r"(d) : "edx", "cc");
}

static void undefined(void *unused)
{
    (void)unused;
    __asm__ volatile("ud2");
}

static void breakpoint(void *unused)
{
    (void)unused;
    __asm__ volatile("int3");
}

static void privileged(void *unused)
{
    (void)unused;
    __asm__ volatile("hlt");
}

static void misaligned_vector(void *address)
{
    __asm__ volatile("movaps (%0), %%xmm0" : : "r"((char *)address + 1) : "xmm0");
}

static void jump(void *address)
{
    ((void (*)(void))address)();
}

static void check_others(void)
{
    fault f = fault_of(divide, (void *)5);
    CHECK_EQ(f.signal, SIGFPE);
    CHECK_EQ(f.code, FPE_INTDIV);
    CHECK(f.address != 0);
    f = fault_of(divide_overflow, NULL);
    CHECK_EQ(f.signal, SIGFPE);
    CHECK_EQ(f.code, FPE_INTDIV);
    f = fault_of(undefined, NULL);
    CHECK_EQ(f.signal, SIGILL);
    CHECK_EQ(f.code, ILL_ILLOPN);
    CHECK(f.address >= (uintptr_t)undefined && f.address < (uintptr_t)undefined + 16);
    f = fault_of(breakpoint, NULL);
    CHECK_EQ(f.signal, SIGTRAP);
    CHECK_EQ(f.code, SI_KERNEL);
    CHECK_FAULT(fault_of(privileged, NULL), SIGSEGV, SI_KERNEL, 0);
    static char area[64] __attribute__((aligned(16)));
    CHECK_FAULT(fault_of(misaligned_vector, area), SIGSEGV, SI_KERNEL, 0);
    passed("SIGFPE, SIGILL, SIGTRAP, general protection");

    char *page = map_pages(PAGE, PROT_READ | PROT_WRITE);
    page[0] = (char)0xc3;
    CHECK_FAULT(fault_of(jump, page), SIGSEGV, SEGV_ACCERR, page);
    sys(mprotect, page, PAGE, PROT_READ | PROT_EXEC);
    CHECK_FAULT(fault_of(jump, page), 0, 0, 0);
    sys(munmap, page, PAGE);
    CHECK_FAULT(fault_of(jump, page), SIGSEGV, SEGV_MAPERR, page);
    passed("execute permission");
}

static void check_bus(void)
{
    int fd = (int)sys(memfd_create, "bus", 0);
    sys(ftruncate, fd, PAGE + 10);
    char *map = (char *)mmap6(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK_FAULT(fault_of_write(map + PAGE + 100), 0, 0, 0);
    CHECK_FAULT(fault_of_read(map + 2 * PAGE + 3), SIGBUS, BUS_ADRERR, map + 2 * PAGE + 3);
    CHECK_FAULT(fault_of_write(map + 3 * PAGE), SIGBUS, BUS_ADRERR, map + 3 * PAGE);
    sys(ftruncate, fd, 4 * PAGE);
    CHECK_FAULT(fault_of_write(map + 3 * PAGE), 0, 0, 0);
    CHECK_EQ(map[3 * PAGE], 1);
    sys(ftruncate, fd, 0);
    CHECK_FAULT(fault_of_read(map), SIGBUS, BUS_ADRERR, map);
    sys(munmap, map, 4 * PAGE);
    sys(close, fd);
    passed("SIGBUS");
}

// The page-fault error code in the context: bit 0 present, 1 write, 2 user, 4 fetch (SDM vol. 3, 4.7).
static void check_error_codes(void)
{
    char *page = map_pages(PAGE, PROT_READ);
    char *gone = map_pages(PAGE, PROT_READ);
    sys(munmap, gone, PAGE);
    (void)*(volatile char *)page;
    signal_handle(SIGSEGV, show_context, 0, 0);
#define TRAP(instruction, address) \
    __asm__ volatile("lea 1f(%%rip), %%r12\n\t" instruction "\n1:" : : "a"(address) : "r12", "r13", "cc", "memory")
    TRAP("mov (%%rax), %%r13", gone);
    CHECK_EQ(trap_error, 4);
    CHECK_EQ(trap_number, 14);
    TRAP("mov %%r13, (%%rax)", gone);
    CHECK_EQ(trap_error, 6);
    TRAP("mov %%r13, (%%rax)", page);
    CHECK_EQ(trap_error, 7);
    TRAP("lock addl $0, (%%rax)", page);
    CHECK_EQ(trap_error, 7);
    TRAP("jmp *%%rax", gone);
    CHECK_EQ(trap_error, 0x14);
    CHECK_EQ(trap_rip, gone);
    TRAP("jmp *%%rax", page);
    CHECK_EQ(trap_error, 0x15);
    TRAP("mov (%%rax), %%r13", 0x8000000000000000);
    CHECK_EQ(trap_error, 0);
    CHECK_EQ(trap_number, 13);
    catch_faults();
    sys(munmap, page, PAGE);
    passed("error codes");
}

static char spare[16384];

static void overflow_handler(int signal, siginfo_t *info, void *context)
{
    (void)context;
    print("stack overflow caught: signal %d\n", signal);
    exit_group(info->si_code == SEGV_MAPERR ? 21 : 22);
}

static int recurse(volatile int *previous)
{
    volatile int here[256];
    here[0] = *previous + 1;
    return here[0] > 0 ? recurse(here) + here[0] : 0;
}

static int overflow_on_alternate(void *argument)
{
    (void)argument;
    stack_t stack = { spare, 0, sizeof spare };
    sys(sigaltstack, &stack, NULL);
    signal_handle(SIGSEGV, overflow_handler, SA_ONSTACK, 0);
    struct { uint64_t soft, hard; } limit = { 256 << 10, 256 << 10 };
    sys(setrlimit, 3, &limit);
    volatile int start[1] = { 0 };
    return recurse(start);
}

static void fault_at(void *address)
{
    *(volatile int *)address = 1;
}

static int fault_with_default(void *argument)
{
    int signal = (int)(long)argument;
    struct { uint64_t soft, hard; } no_core = { 0, 0 };
    sys(setrlimit, 4, &no_core);
    signal_set(signal, SIG_DFL);
    if (signal == SIGSEGV)
        fault_at((void *)(zero + 16L));
    else if (signal == SIGFPE)
        divide((void *)1);
    else
        undefined(NULL);
    return 1;
}

static int fault_while_blocked(void *argument)
{
    signal_mask(SIG_BLOCK, SIGNAL_BIT(SIGSEGV));
    struct { uint64_t soft, hard; } no_core = { 0, 0 };
    sys(setrlimit, 4, &no_core);
    *(volatile int *)argument = 1;
    return 1;
}

static void check_deaths(void)
{
    CHECK_EQ(status_of_child(overflow_on_alternate, NULL), EXITED(21));
    CHECK_EQ(status_of_child(fault_with_default, (void *)SIGSEGV), SIGSEGV);
    CHECK_EQ(status_of_child(fault_with_default, (void *)SIGFPE), SIGFPE);
    CHECK_EQ(status_of_child(fault_with_default, (void *)SIGILL), SIGILL);
    CHECK_EQ(status_of_child(fault_while_blocked, (void *)32), SIGSEGV);
    passed("deaths");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    catch_faults();
    check_segv();
    check_straddle();
    check_others();
    check_bus();
    check_error_codes();
    check_deaths();
    return report();
}

#include "guest.h"
#include "guest/signals.h"

#include <linux/time.h>

// What x86-64 Linux wants as sa_restorer: the return address of every handler (arch/x86/kernel/signal_64.c).
__asm__(".type signal_return, @function\n"
        "signal_return:\n"
        "    mov $15, %eax\n"
        "    syscall\n"
        ".size signal_return, . - signal_return\n");
void signal_return(void);

long signal_handle(int signal, signal_action action, unsigned long flags, unsigned long mask)
{
    struct sigaction sa = {
        .sa_handler = (__sighandler_t)(void *)action,
        .sa_flags = flags | SA_SIGINFO | SA_RESTORER,
        .sa_restorer = signal_return,
        .sa_mask = mask,
    };
    return sys(rt_sigaction, signal, &sa, NULL, 8);
}

long signal_set(int signal, void (*disposition)(int))
{
    struct sigaction sa = { .sa_handler = disposition };
    return sys(rt_sigaction, signal, &sa, NULL, 8);
}

unsigned long signal_mask(int how, unsigned long set)
{
    unsigned long old = 0;
    sys(rt_sigprocmask, how, &set, &old, 8);
    return old;
}

long signal_wait(unsigned long set, siginfo_t *info, long milliseconds)
{
    struct __kernel_timespec timeout = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    return sys(rt_sigtimedwait, &set, info, milliseconds < 0 ? NULL : &timeout, 8);
}

__asm__(".globl jump_set, jump_to\n"
        ".type jump_set, @function\n"
        "jump_set:\n"
        "    mov %rbx, 0(%rdi)\n"
        "    mov %rbp, 8(%rdi)\n"
        "    mov %r12, 16(%rdi)\n"
        "    mov %r13, 24(%rdi)\n"
        "    mov %r14, 32(%rdi)\n"
        "    mov %r15, 40(%rdi)\n"
        "    lea 8(%rsp), %rax\n"
        "    mov %rax, 48(%rdi)\n"
        "    mov (%rsp), %rax\n"
        "    mov %rax, 56(%rdi)\n"
        "    xor %eax, %eax\n"
        "    ret\n"
        ".size jump_set, . - jump_set\n"
        ".type jump_to, @function\n"
        "jump_to:\n"
        "    mov 0(%rdi), %rbx\n"
        "    mov 8(%rdi), %rbp\n"
        "    mov 16(%rdi), %r12\n"
        "    mov 24(%rdi), %r13\n"
        "    mov 32(%rdi), %r14\n"
        "    mov 40(%rdi), %r15\n"
        "    mov 48(%rdi), %rsp\n"
        "    mov %esi, %eax\n"
        "    jmp *56(%rdi)\n"
        ".size jump_to, . - jump_to\n");

static __thread jump_point *recovery;
static __thread fault caught;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (!recovery) {
        print_to(2, "unexpected signal %d, code %d\n", signal, info->si_code);
        exit_group(98);
    }
    caught = (fault){ signal, info->si_code, (unsigned long)info->si_addr };
    jump_to(recovery, 1);
}

void catch_faults(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        signal_handle(signals[i], on_fault, SA_NODEFER, 0);
}

fault fault_of(void (*body)(void *), void *argument)
{
    jump_point point;
    jump_point *outer = recovery;
    caught = (fault){ 0 };
    if (!jump_set(&point)) {
        recovery = &point;
        body(argument);
    }
    recovery = outer;
    __asm__ volatile("cld" ::: "memory");
    return caught;
}

static void read_byte(void *address)
{
    *(const volatile char *)address;
}

static void write_byte(void *address)
{
    *(volatile char *)address = 1;
}

fault fault_of_read(const volatile void *address)
{
    return fault_of(read_byte, (void *)address);
}

fault fault_of_write(volatile void *address)
{
    return fault_of(write_byte, (void *)address);
}

int status_of_child(int (*body)(void *), void *argument)
{
    long child = sys(fork);
    if (!child)
        exit_group(body(argument));
    int status = -1;
    while (sys(wait4, child, &status, 0, NULL) == -EINTR) {
    }
    return status;
}

// sys(name, arguments...) makes the system call and returns the kernel's raw result: a value, or minus an errno.
#pragma once

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define SYS_0(n) syscall6(n, 0, 0, 0, 0, 0, 0)
#define SYS_1(n, a) syscall6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS_2(n, a, b) syscall6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS_3(n, a, b, c) syscall6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS_4(n, a, b, c, d) syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS_5(n, a, b, c, d, e) syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS_6(n, a, b, c, d, e, f) syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS_PICK(n, _1, _2, _3, _4, _5, _6, NAME, ...) NAME
#define sys(name, ...) \
    SYS_PICK(0, ##__VA_ARGS__, SYS_6, SYS_5, SYS_4, SYS_3, SYS_2, SYS_1, SYS_0)(__NR_##name, ##__VA_ARGS__)

// sys does not nest (a macro is not expanded in its own arguments): the ids that other calls want.
static inline long process_id(void)
{
    return syscall6(__NR_getpid, 0, 0, 0, 0, 0, 0);
}

static inline long thread_id(void)
{
    return syscall6(__NR_gettid, 0, 0, 0, 0, 0, 0);
}

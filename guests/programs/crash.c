// Dies in the way its argument names, for crash reports: crash null|write|divide|ud2|stack|noexec|protection|abort|trap|syscall
#include "guest.h"
#include "guest/signals.h"

static volatile int zero;

__attribute__((noinline)) static void read_null(void)
{
    *(volatile int *)(zero + 0L);
}

__attribute__((noinline)) static void write_read_only(void)
{
    *(volatile char *)(uintptr_t)"text" = 1;
}

__attribute__((noinline)) static void divide_by_zero(void)
{
    int x = 1;
    __asm__ volatile("cltd\n\tidivl %1" : "+a"(x) : "r"(zero) : "edx", "cc");
}

__attribute__((noinline)) static int overflow_stack(volatile int *above)
{
    volatile int frame[1024];
    frame[0] = *above + 1;
    return frame[0] > 0 ? overflow_stack(frame) + frame[0] : 0;
}

__attribute__((noinline)) static void jump_to_data(void)
{
    static char data[16] = { (char)0xc3 };
    ((void (*)(void))(uintptr_t)data)();
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    const char *way = argc > 1 ? argv[1] : "null";
    struct { uint64_t soft, hard; } no_core = { 0, 0 };
    sys(setrlimit, 4, &no_core);
    print("crashing: %s\n", way);
    if (!strcmp(way, "null"))
        read_null();
    else if (!strcmp(way, "write"))
        write_read_only();
    else if (!strcmp(way, "divide"))
        divide_by_zero();
    else if (!strcmp(way, "ud2"))
        __builtin_trap();
    else if (!strcmp(way, "stack"))
        overflow_stack(&zero);
    else if (!strcmp(way, "noexec"))
        jump_to_data();
    else if (!strcmp(way, "protection"))
        __asm__ volatile("hlt");
    else if (!strcmp(way, "trap"))
        __asm__ volatile("int3");
    else if (!strcmp(way, "abort"))
        sys(tgkill, process_id(), thread_id(), SIGABRT);
    else if (!strcmp(way, "syscall"))
        print("call 499 gives %ld\n", syscall6(499, 1, 2, 3, 4, 5, 6));
    else
        print_to(2, "crash: no such way: %s\n", way);
    return 2;
}

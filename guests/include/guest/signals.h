#pragma once

#include <linux/signal.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>

typedef void (*signal_action)(int signal, siginfo_t *info, void *context);
#define SIGNAL_BIT(signal) (1UL << ((signal) - 1))

// rt_sigaction with SA_SIGINFO and our restorer; the raw result.
long signal_handle(int signal, signal_action action, unsigned long flags, unsigned long mask);
long signal_set(int signal, void (*disposition)(int));          // SIG_DFL or SIG_IGN
unsigned long signal_mask(int how, unsigned long set);          // the old mask
long signal_wait(unsigned long set, siginfo_t *info, long milliseconds);

typedef struct { unsigned long registers[8]; } jump_point;
int jump_set(jump_point *point) __attribute__((returns_twice));
_Noreturn void jump_to(jump_point *point, int value);

// Runs an access and says which signal it raised: {0} for none. Works in every thread; handlers are installed by catch_faults.
typedef struct { int signal, code; unsigned long address; } fault;
void catch_faults(void);
fault fault_of(void (*body)(void *), void *argument);
fault fault_of_read(const volatile void *address);
fault fault_of_write(volatile void *address);
#define CHECK_FAULT(expression, want_signal, want_code, want_address) \
    do { \
        fault f_ = (expression); \
        CHECK_EQ(f_.signal, want_signal); \
        CHECK_EQ(f_.code, want_code); \
        CHECK_EQ(f_.address, want_address); \
    } while (0)

// fork, run body in the child, exit with its value; the parent's result is the raw wait status.
int status_of_child(int (*body)(void *), void *argument);
#define EXITED(code) ((code) << 8)

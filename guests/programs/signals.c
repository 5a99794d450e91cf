// Handlers, alternate stacks, masks, nesting, restart, queued values, frame layout, wait for signals.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

#include <linux/wait.h>

static volatile int taken, depth, deepest, order[8], order_count;
static volatile siginfo_t last;
static volatile uint64_t frame_address, seen_mask;

static void note(int signal, siginfo_t *info, void *context)
{
    taken++;
    *(siginfo_t *)&last = *info;
    frame_address = (uint64_t)__builtin_frame_address(0);
    seen_mask = signal_mask(SIG_BLOCK, 0);
    if (order_count < (int)COUNT_OF(order))
        order[order_count++] = signal;
    (void)context;
}

static void check_handlers(void)
{
    taken = 0;
    CHECK_EQ(signal_handle(SIGUSR1, note, 0, SIGNAL_BIT(SIGUSR2)), 0);
    CHECK_EQ(sys(kill, process_id(), SIGUSR1), 0);
    CHECK_EQ(taken, 1);
    CHECK_EQ(last.si_signo, SIGUSR1);
    CHECK_EQ(last.si_code, SI_USER);
    CHECK_EQ(last.si_pid, process_id());
    CHECK_EQ(seen_mask, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    CHECK_EQ(signal_mask(SIG_BLOCK, 0), 0);
    CHECK_EQ(frame_address % 16, 0);
    CHECK_EQ(sys(tgkill, process_id(), thread_id(), SIGUSR1), 0);
    CHECK_EQ(last.si_code, SI_TKILL);
    CHECK_EQ(sys(tkill, thread_id(), 0), 0);
    CHECK_EQ(taken, 2);

    siginfo_t value = { 0 };
    value.si_code = SI_QUEUE;
    value.si_value.sival_int = 1234;
    CHECK_EQ(sys(rt_sigqueueinfo, process_id(), SIGUSR1, &value), 0);
    CHECK_EQ(taken, 3);
    CHECK_EQ(last.si_code, SI_QUEUE);
    CHECK_EQ(last.si_value.sival_int, 1234);

    CHECK_EQ(signal_handle(SIGUSR1, note, SA_RESETHAND | SA_NODEFER, 0), 0);
    sys(kill, process_id(), SIGUSR1);
    CHECK_EQ(seen_mask, 0);
    struct sigaction now;
    CHECK_EQ(sys(rt_sigaction, SIGUSR1, NULL, &now, 8), 0);
    CHECK(now.sa_handler == SIG_DFL);
    passed("handlers");

    CHECK_EQ(signal_handle(SIGKILL, note, 0, 0), -EINVAL);
    CHECK_EQ(signal_handle(SIGSTOP, note, 0, 0), -EINVAL);
    CHECK_EQ(signal_handle(0, note, 0, 0), -EINVAL);
    CHECK_EQ(signal_handle(65, note, 0, 0), -EINVAL);
    CHECK_EQ(sys(rt_sigaction, SIGUSR1, NULL, &now, 4), -EINVAL);
    CHECK_EQ(sys(rt_sigaction, SIGUSR1, 8, NULL, 8), -EFAULT);
    CHECK_EQ(sys(kill, process_id(), 65), -EINVAL);
    CHECK_EQ(sys(kill, 0x3fffffff, 0), -ESRCH);
    CHECK_EQ(sys(tgkill, process_id(), 0x3fffffff, 0), -ESRCH);
    CHECK_EQ(sys(rt_sigprocmask, 7, &seen_mask, NULL, 8), -EINVAL);
    passed("errors");
}

static void check_masks(void)
{
    signal_handle(SIGUSR1, note, 0, 0);
    signal_handle(SIGUSR2, note, 0, 0);
    signal_handle(SIGRTMIN + 1, note, 0, 0);
    taken = order_count = 0;
    uint64_t blocked = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2) | SIGNAL_BIT(SIGRTMIN + 1);
    signal_mask(SIG_BLOCK, blocked);
    for (int i = 0; i < 3; i++) {
        sys(kill, process_id(), SIGUSR2);
        sys(kill, process_id(), SIGUSR1);
        sys(kill, process_id(), SIGRTMIN + 1);
    }
    CHECK_EQ(taken, 0);
    uint64_t pending = 0;
    CHECK_EQ(sys(rt_sigpending, &pending, 8), 0);
    CHECK_EQ(pending, blocked);
    signal_mask(SIG_UNBLOCK, blocked);
    CHECK_EQ(taken, 5);
    // Frames are stacked lowest number first, so that the highest handler runs first.
    CHECK_EQ(order[0], SIGRTMIN + 1);
    CHECK_EQ(order[3], SIGUSR2);
    CHECK_EQ(order[4], SIGUSR1);
    CHECK_EQ(sys(rt_sigpending, &pending, 8), 0);
    CHECK_EQ(pending, 0);
    signal_mask(SIG_SETMASK, ~0ul);
    CHECK_EQ(signal_mask(SIG_SETMASK, 0), ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP)));
    passed("masks and queueing");
}

static void nest(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (depth < 10)
        sys(tgkill, process_id(), thread_id(), signal);
    depth--;
}

static void check_nesting(void)
{
    signal_handle(SIGUSR1, nest, SA_NODEFER, 0);
    sys(tgkill, process_id(), thread_id(), SIGUSR1);
    CHECK_EQ(deepest, 10);
    CHECK_EQ(depth, 0);
    passed("nesting");
}

static char alternate[16384] __attribute__((aligned(16)));
static volatile bool on_alternate;
static volatile long change_result;

static void where(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    char here;
    on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
    stack_t current, fresh = { alternate, 0, 8192 };
    sys(sigaltstack, NULL, &current);
    CHECK_EQ(current.ss_flags, on_alternate ? SS_ONSTACK : 0);
    change_result = sys(sigaltstack, &fresh, NULL);
    CHECK_EQ(((struct ucontext *)context)->uc_stack.ss_size, sizeof alternate);
}

static void check_alternate_stack(void)
{
    stack_t old, stack = { alternate, 0, sizeof alternate };
    CHECK_EQ(sys(sigaltstack, NULL, &old), 0);
    CHECK_EQ(old.ss_flags, SS_DISABLE);
    CHECK_EQ(sys(sigaltstack, &stack, NULL), 0);
    signal_handle(SIGUSR1, where, SA_ONSTACK, 0);
    sys(kill, process_id(), SIGUSR1);
    CHECK(on_alternate);
    CHECK_EQ(change_result, -EPERM);
    signal_handle(SIGUSR1, where, 0, 0);
    sys(kill, process_id(), SIGUSR1);
    CHECK(!on_alternate);
    CHECK_EQ(change_result, 0);
    stack_t small = { alternate, 0, 100 }, odd = { alternate, 64, 8192 }, none = { NULL, SS_DISABLE, 0 };
    CHECK_EQ(sys(sigaltstack, &small, NULL), -ENOMEM);
    CHECK_EQ(sys(sigaltstack, &odd, NULL), -EINVAL);
    CHECK_EQ(sys(sigaltstack, &none, NULL), 0);
    passed("alternate stack");
}

static void change_context(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    struct ucontext *c = context;
    CHECK_EQ(c->uc_mcontext.rbx, 0x1111);
    CHECK_EQ(c->uc_mcontext.cs, 0x33);
    c->uc_mcontext.rbx = 0x2222;
    c->uc_mcontext.eflags |= 1;
    struct _fpstate_64 *fp = (struct _fpstate_64 *)c->uc_mcontext.fpstate;
    CHECK(fp != NULL && (uintptr_t)fp % 16 == 0);
    CHECK_EQ(fp->xmm_space[0], 0x33333333);
    fp->xmm_space[0] = 0x44444444;
    // The red zone below the interrupted stack pointer is the program's.
    CHECK((uint64_t)c < c->uc_mcontext.rsp - 128);
}

static void check_context(void)
{
    signal_handle(SIGUSR1, change_context, 0, 0);
    uint64_t rbx = 0x1111, carry = 0, xmm;
    uint64_t pattern = 0x33333333;
    long pid = process_id();
    __asm__ volatile("movq %[pattern], %%xmm0\n\t"
                     "clc\n\t"
                     "mov $62, %%eax\n\t"
                     "syscall\n\t"
                     "setc %b[carry]\n\t"
                     "movq %%xmm0, %[xmm]\n\t"
                     : "+b"(rbx), [carry] "+r"(carry), [xmm] "=r"(xmm)
                     : [pattern] "r"(pattern), "D"(pid), "S"(SIGUSR1)
                     : "rax", "rcx", "r11", "xmm0", "cc", "memory");
    CHECK_EQ(rbx, 0x2222);
    CHECK_EQ(carry, 1);
    CHECK_EQ(xmm, 0x44444444);
    passed("context");
}

// What a handler does to the extended state of its frame, and what the program then finds in XMM0.
enum tampering { CHANGE_VECTOR, CLEAR_HEADER, BREAK_MAGIC1, BREAK_MAGIC2, NO_STATE, SET_RESERVED, ENABLE_UNKNOWN, BAD_MXCSR, MISALIGN };
static enum tampering tampering;

static void change_state(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    struct ucontext *c = context;
    struct _xstate *state = (struct _xstate *)c->uc_mcontext.fpstate;
    struct _fpx_sw_bytes *software = &state->fpstate.sw_reserved;
    uint32_t *magic2 = (uint32_t *)((char *)state + software->xstate_size);
    CHECK(c->uc_flags & UC_FP_XSTATE);
    CHECK_EQ((uintptr_t)state % 64, 0);
    CHECK_EQ(software->magic1, FP_XSTATE_MAGIC1);
    CHECK_EQ(software->extended_size, software->xstate_size + FP_XSTATE_MAGIC2_SIZE);
    CHECK(software->xstate_size >= 576);
    CHECK_EQ(software->xfeatures & 3, 3);
    CHECK_EQ(state->xstate_hdr.xfeatures & 3, 3);
    CHECK_EQ(*magic2, FP_XSTATE_MAGIC2);
    CHECK_EQ(state->fpstate.xmm_space[0], 0x33333333);
    state->fpstate.xmm_space[0] = 0x44444444;
    switch (tampering) {
    case CHANGE_VECTOR: break;
    case CLEAR_HEADER: state->xstate_hdr.xfeatures = 0; break;
    case BREAK_MAGIC1: state->xstate_hdr.xfeatures = 0; software->magic1++; break;
    case BREAK_MAGIC2: state->xstate_hdr.xfeatures = 0; ++*magic2; break;
    case NO_STATE: c->uc_mcontext.fpstate = 0; break;
    case SET_RESERVED: state->xstate_hdr.reserved1[1] = 1; break;
    case ENABLE_UNKNOWN: state->xstate_hdr.xfeatures |= 1ul << 62; break;
    case BAD_MXCSR: state->fpstate.mxcsr |= 1u << 31; break;
    case MISALIGN: c->uc_mcontext.fpstate = (void *)((char *)state + 8); break;
    }
}

static uint64_t vector_after(enum tampering what)
{
    tampering = what;
    uint64_t xmm, pattern = 0x33333333;
    __asm__ volatile("movq %[pattern], %%xmm0\n\t"
                     "mov $62, %%eax\n\t"
                     "syscall\n\t"
                     "movq %%xmm0, %[xmm]\n\t"
                     : [xmm] "=r"(xmm)
                     : [pattern] "r"(pattern), "D"(process_id()), "S"(SIGUSR1)
                     : "rax", "rcx", "r11", "xmm0", "cc", "memory");
    return xmm;
}

static int survive(void *what)
{
    vector_after((enum tampering)(uintptr_t)what);
    return 0;
}

static void check_extended_state(void)
{
    signal_handle(SIGUSR1, change_state, 0, 0);
    signal_set(SIGSEGV, SIG_DFL);
    CHECK_EQ(vector_after(CHANGE_VECTOR), 0x44444444);
    CHECK_EQ(vector_after(CLEAR_HEADER), 0);
    CHECK_EQ(vector_after(BREAK_MAGIC1), 0x44444444);
    CHECK_EQ(vector_after(BREAK_MAGIC2), 0x44444444);
    CHECK_EQ(vector_after(NO_STATE), 0);
    for (uintptr_t refused = SET_RESERVED; refused <= MISALIGN; refused++)
        CHECK_EQ(status_of_child(survive, (void *)refused) & 0x7f, SIGSEGV);
    passed("extended state");
}

static int pipe_ends[2];
static long writer_pid;

static void check_restart(void)
{
    for (int restart = 0; restart < 2; restart++) {
        taken = 0;
        sys(pipe2, pipe_ends, 0);
        signal_handle(SIGUSR1, note, restart ? SA_RESTART : 0, 0);
        long parent = process_id();
        writer_pid = sys(fork);
        if (!writer_pid) {
            struct __kernel_timespec pause = { 0, 30 * 1000000 };
            sys(nanosleep, &pause, NULL);
            sys(kill, parent, SIGUSR1);
            sys(nanosleep, &pause, NULL);
            sys(write, pipe_ends[1], "x", 1);
            exit_group(0);
        }
        char c = 0;
        long result = sys(read, pipe_ends[0], &c, 1);
        CHECK_EQ(taken, 1);
        CHECK_EQ(result, restart ? 1 : -EINTR);
        int status;
        CHECK_EQ(sys(wait4, writer_pid, &status, 0, NULL), writer_pid);
        CHECK_EQ(status, 0);
        sys(close, pipe_ends[0]);
        sys(close, pipe_ends[1]);
    }
    passed("restart");
}

static void check_waiting(void)
{
    uint64_t set = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGCHLD);
    signal_mask(SIG_BLOCK, set);
    siginfo_t info;
    CHECK_EQ(signal_wait(set, &info, 1), -EAGAIN);
    sys(kill, process_id(), SIGUSR1);
    CHECK_EQ(signal_wait(set, &info, -1), SIGUSR1);
    CHECK_EQ(info.si_code, SI_USER);
    long child = sys(fork);
    if (!child)
        exit_group(6);
    signal_handle(SIGCHLD, note, 0, 0);
    CHECK_EQ(signal_wait(set, &info, -1), SIGCHLD);
    CHECK_EQ(info.si_code, CLD_EXITED);
    CHECK_EQ(info.si_status, 6);
    CHECK_EQ(info.si_pid, child);
    sys(wait4, child, NULL, 0, NULL);
    taken = 0;
    signal_handle(SIGUSR1, note, 0, 0);
    sys(kill, process_id(), SIGUSR1);
    uint64_t nothing = 0;
    CHECK_EQ(sys(rt_sigsuspend, &nothing, 8), -EINTR);
    CHECK_EQ(taken, 1);
    CHECK_EQ(signal_mask(SIG_SETMASK, 0), set);
    passed("waiting");
}

static int kill_self(void *argument)
{
    sys(kill, process_id(), (long)argument);
    return 1;
}

// Continued, it waits for the other end of a pipe to go: the parent is to see the continuation before the end.
static int stop_then_exit(const int *pipe)
{
    char nothing;
    sys(close, pipe[1]);
    sys(kill, process_id(), SIGSTOP);
    sys(read, pipe[0], &nothing, 1);
    return 3;
}

static void check_defaults(void)
{
    static const int fatal[] = { SIGHUP, SIGINT, SIGKILL, SIGUSR1, SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGPROF, SIGRTMIN };
    signal_set(SIGUSR1, SIG_DFL);
    signal_set(SIGUSR2, SIG_DFL);
    signal_set(SIGCHLD, SIG_DFL);
    for (size_t i = 0; i < COUNT_OF(fatal); i++) {
        signal_set(fatal[i], SIG_DFL);          // whoever started us may ignore it
        CHECK_EQ(status_of_child(kill_self, (void *)(long)fatal[i]) & 0x7f, fatal[i]);
    }
    CHECK_EQ(status_of_child(kill_self, (void *)SIGCHLD), EXITED(1));
    CHECK_EQ(status_of_child(kill_self, (void *)SIGURG), EXITED(1));
    CHECK_EQ(status_of_child(kill_self, (void *)SIGCONT), EXITED(1));
    signal_set(SIGTERM, SIG_IGN);
    CHECK_EQ(status_of_child(kill_self, (void *)SIGTERM), EXITED(1));
    signal_set(SIGTERM, SIG_DFL);

    int pipe[2];
    CHECK_EQ(sys(pipe2, pipe, 0), 0);
    long child = sys(fork);
    if (!child)
        exit_group(stop_then_exit(pipe));
    int status = 0;
    CHECK_EQ(sys(wait4, child, &status, WUNTRACED, NULL), child);
    CHECK_EQ(status, 0x7f | SIGSTOP << 8);
    CHECK_EQ(sys(kill, child, SIGCONT), 0);
    CHECK_EQ(sys(wait4, child, &status, WCONTINUED, NULL), child);
    CHECK_EQ(status, 0xffff);
    sys(close, pipe[0]);
    sys(close, pipe[1]);
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, EXITED(3));
    passed("default actions");
}

static uint32_t ready_threads, handled_by[4];
static __thread int own_index = -1;

static void count_own(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    ADD(&handled_by[own_index], 1);
}

static uint32_t thread_ids[4];

static void receive(void *argument)
{
    own_index = (int)(long)argument;
    STORE_RELEASE(&thread_ids[own_index], (uint32_t)thread_id());
    ADD(&ready_threads, 1);
    while (LOAD_ACQUIRE(&handled_by[own_index]) < 20)
        thread_yield();
}

static void check_directed(void)
{
    signal_handle(SIGUSR2, count_own, 0, 0);
    thread *threads[4];
    for (long i = 0; i < 4; i++)
        threads[i] = thread_start(receive, (void *)i);
    while (LOAD_ACQUIRE(&ready_threads) < 4)
        thread_yield();
    for (uint32_t n = 0; n < 20; n++) {
        for (int i = 0; i < 4; i++)
            CHECK_EQ(sys(tgkill, process_id(), thread_ids[i], SIGUSR2), 0);
        for (int i = 0; i < 4; i++)
            while (LOAD_ACQUIRE(&handled_by[i]) <= n)
                thread_yield();
    }
    for (int i = 0; i < 4; i++) {
        thread_join(threads[i]);
        CHECK_EQ(handled_by[i], 20);
    }
    passed("directed at threads");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_handlers();
    check_masks();
    check_nesting();
    check_alternate_stack();
    check_context();
    check_extended_state();
    check_restart();
    check_waiting();
    check_defaults();
    check_directed();
    return report();
}

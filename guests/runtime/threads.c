#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"
#include "internal.h"

#include <asm/prctl.h>
#include <linux/auxvec.h>
#include <linux/elf.h>

// Variant II thread-local storage: the block lies below this structure, whose first word points to itself (psABI, TLS).
struct thread {
    thread *self;
    uint32_t tid;                   // cleared, and woken as a futex, by the kernel when the thread is gone
    thread_body body;
    void *argument;
    void *mapping;
    size_t mapping_bytes;
};

enum { STACK_BYTES = 64 << 10, GUARD_BYTES = 4096 };

static const void *tls_image;
static size_t tls_image_bytes, tls_bytes;

static char main_block[1024] __attribute__((aligned(64)));

static thread *current(void)
{
    thread *self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    return self;
}

static thread *place_block(char *end)
{
    thread *self = (thread *)((uintptr_t)(end - sizeof(thread)) & ~63UL);
    char *block = (char *)self - tls_bytes;
    memset(block, 0, tls_bytes);
    memcpy(block, tls_image, tls_image_bytes);
    self->self = self;
    return self;
}

void threads_start(void)
{
    const Elf64_Phdr *header = (const Elf64_Phdr *)auxv_get(AT_PHDR);
    for (unsigned long i = 0; i < auxv_get(AT_PHNUM); i++) {
        if (header[i].p_type != PT_TLS)
            continue;
        tls_image = (const void *)header[i].p_vaddr;
        tls_image_bytes = header[i].p_filesz;
        tls_bytes = (header[i].p_memsz + header[i].p_align - 1) & -header[i].p_align;
    }
    thread *self = place_block(main_block + sizeof main_block);
    self->tid = (uint32_t)sys(gettid);
    sys(arch_prctl, ARCH_SET_FS, self);
}

__attribute__((used)) _Noreturn void thread_enter(void)
{
    thread *self = current();
    self->body(self->argument);
    for (;;)
        sys(exit, 0);
}

// The child has a new stack, so clone's return has to be written without one: the child goes straight to thread_enter.
static long clone_thread(void *stack, thread *self)
{
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS
               | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    long result;
    register uint32_t *r10 __asm__("r10") = &self->tid;
    register thread *r8 __asm__("r8") = self;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call thread_enter\n"
                     "1:"
                     : "=a"(result)
                     : "a"(__NR_clone), "D"(flags), "S"(stack), "d"(&self->tid), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

thread *thread_start(thread_body body, void *argument)
{
    size_t bytes = STACK_BYTES + GUARD_BYTES + tls_bytes + PAGE;
    bytes = (bytes + PAGE - 1) & -PAGE;
    char *mapping = map_pages(bytes, PROT_READ | PROT_WRITE);
    sys(mprotect, mapping, GUARD_BYTES, PROT_NONE);
    thread *self = place_block(mapping + bytes);
    self->body = body;
    self->argument = argument;
    self->mapping = mapping;
    self->mapping_bytes = bytes;
    void *stack = (void *)(((uintptr_t)self - tls_bytes) & ~63UL);
    long tid = clone_thread(stack, self);
    if (tid < 0) {
        print_to(2, "clone gives %ld\n", tid);
        exit_group(99);
    }
    return self;
}

void thread_join(thread *t)
{
    for (uint32_t tid; (tid = LOAD_ACQUIRE(&t->tid));)
        futex_wait(&t->tid, tid, NULL);
    sys(munmap, t->mapping, t->mapping_bytes);
}

void thread_yield(void)
{
    sys(sched_yield);
}

// "Futexes Are Tricky" (Drepper), mutex 2.
void mutex_lock(mutex *m)
{
    uint32_t seen = 0;
    if (__atomic_compare_exchange_n(&m->state, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    if (seen != 2)
        seen = __atomic_exchange_n(&m->state, 2, __ATOMIC_ACQUIRE);
    while (seen) {
        futex_wait(&m->state, 2, NULL);
        seen = __atomic_exchange_n(&m->state, 2, __ATOMIC_ACQUIRE);
    }
}

bool mutex_try_lock(mutex *m)
{
    uint32_t seen = 0;
    return __atomic_compare_exchange_n(&m->state, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void mutex_unlock(mutex *m)
{
    if (__atomic_exchange_n(&m->state, 0, __ATOMIC_RELEASE) == 2)
        futex_wake(&m->state, 1);
}

void condition_wait(condition *c, mutex *m)
{
    uint32_t sequence = LOAD(&c->sequence);
    mutex_unlock(m);
    futex_wait(&c->sequence, sequence, NULL);
    mutex_lock(m);
}

void condition_signal(condition *c)
{
    ADD(&c->sequence, 1);
    futex_wake(&c->sequence, 1);
}

void condition_broadcast(condition *c)
{
    ADD(&c->sequence, 1);
    futex_wake(&c->sequence, 0x7fffffff);
}

static bool barrier_last(barrier *b)
{
    if (ADD(&b->waiting, 1) != b->parties)
        return false;
    STORE(&b->waiting, 0);
    ADD(&b->generation, 1);
    return true;
}

void barrier_wait(barrier *b)
{
    uint32_t generation = LOAD_ACQUIRE(&b->generation);
    if (barrier_last(b)) {
        futex_wake(&b->generation, 0x7fffffff);
        return;
    }
    while (LOAD_ACQUIRE(&b->generation) == generation)
        futex_wait(&b->generation, generation, NULL);
}

void barrier_spin(barrier *b)
{
    uint32_t generation = LOAD_ACQUIRE(&b->generation);
    if (barrier_last(b))
        return;
    for (int spins = 0; LOAD_ACQUIRE(&b->generation) == generation; spins++) {
        if (spins % 200 == 199)
            thread_yield();
        else
            __builtin_ia32_pause();
    }
}

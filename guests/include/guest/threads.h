#pragma once

#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/time.h>

typedef struct thread thread;
typedef void (*thread_body)(void *argument);

// A thread made with clone, with its own TLS block and a guarded stack. join waits for its exit and frees both.
thread *thread_start(thread_body body, void *argument);
void thread_join(thread *t);
void thread_yield(void);

typedef struct { uint32_t state; } mutex;           // 0 free, 1 held, 2 held and waited for
void mutex_lock(mutex *m);
bool mutex_try_lock(mutex *m);
void mutex_unlock(mutex *m);

typedef struct { uint32_t sequence; } condition;
void condition_wait(condition *c, mutex *m);
void condition_signal(condition *c);
void condition_broadcast(condition *c);

typedef struct { uint32_t waiting, generation, parties; } barrier;
void barrier_wait(barrier *b);                      // all parties meet; sleeps
void barrier_spin(barrier *b);                      // all parties meet as closely as they can; spins, then yields

static inline long futex_wait(const uint32_t *word, uint32_t expected, const struct __kernel_timespec *timeout)
{
    return sys(futex, word, FUTEX_WAIT, expected, timeout, 0, 0);
}

static inline long futex_wake(const uint32_t *word, int count)
{
    return sys(futex, word, FUTEX_WAKE, count, 0, 0, 0);
}

#define LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define ADD(p, v) __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)

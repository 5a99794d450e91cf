// Mutexes, condition variables, barriers, read-write locks, once, keys, semaphores, spin locks.
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 300 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static pthread_spinlock_t spin;
static sem_t semaphore;
static long counter, turn, initialised, destroyed, spun, torn, pair[2], serial;
static __thread long own;

static void initialise(void) { initialised++; }
static void destroy(void *value) { __atomic_add_fetch(&destroyed, (long)value, __ATOMIC_SEQ_CST); }

static void *work(void *argument)
{
    long me = (long)argument;
    pthread_once(&once, initialise);
    pthread_setspecific(key, (void *)1);
    own = me;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
        pthread_spin_lock(&spin);
        spun++;
        pthread_spin_unlock(&spin);
        if (i % 8 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            pair[0]++;
            pair[1]--;
            pthread_rwlock_unlock(&rwlock);
        }
        pthread_rwlock_rdlock(&rwlock);
        if (pair[0] + pair[1])
            __atomic_add_fetch(&torn, 1, __ATOMIC_SEQ_CST);
        pthread_rwlock_unlock(&rwlock);
    }
    for (int i = 0; i < 30; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != me)
            pthread_cond_wait(&condition, &mutex);
        turn++;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < 30; i++)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            serial++;
    sem_wait(&semaphore);
    sem_post(&semaphore);
    return (void *)(own * 2);
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    pthread_key_create(&key, destroy);
    pthread_spin_init(&spin, 0);
    sem_init(&semaphore, 0, 2);
    long sum = 0;
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i))
            return puts("no thread"), 1;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("%ld %ld %ld %ld %ld %ld %ld %ld\n", counter, spun, torn, turn, initialised, destroyed, serial, sum);
    return 0;
}

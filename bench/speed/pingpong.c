// Two threads hand a turn back and forth by mutex and condition variable.
#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void *play(void *me)
{
    for (int i = 0; i < 50000; i++) {
        pthread_mutex_lock(&lock);
        while (turn != (int)(long)me)
            pthread_cond_wait(&changed, &lock);
        turn = !turn;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return 0;
}

int main(void)
{
    pthread_t other;
    pthread_create(&other, 0, play, (void *)1);
    play(0);
    pthread_join(other, 0);
    printf("played\n");
    return 0;
}

// Clocks as a C library reads them, through the vDSO where there is one: forward only, and in agreement with the system call.
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

static long long now(int clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
    int backwards = 0;
    long long last = now(CLOCK_MONOTONIC), last_real = now(CLOCK_REALTIME);
    for (int i = 0; i < 5000; i++) {
        long long next = now(CLOCK_MONOTONIC), next_real = now(CLOCK_REALTIME);
        backwards += next < last || next_real < last_real;
        last = next, last_real = next_real;
    }
    struct timeval tv;
    gettimeofday(&tv, NULL);
    long long difference = tv.tv_sec * 1000000LL + tv.tv_usec - last_real / 1000;
    time_t seconds = time(NULL);
    printf("backwards %d, day agrees %d, time agrees %d\n", backwards, difference >= 0 && difference < 5000000, seconds - tv.tv_sec <= 2);
    return 0;
}

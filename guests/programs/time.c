// Clocks go forward and agree with each other, also through the vDSO; timers fire in order.
#include "guest.h"
#include "guest/signals.h"

#include <linux/auxvec.h>
#include <linux/elf.h>
#include <linux/time.h>

typedef struct __kernel_timespec timespec;

static long nanoseconds(timespec t)
{
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static long clock(int id)
{
    timespec t = { 0, 0 };
    CHECK_EQ(sys(clock_gettime, id, &t), 0);
    CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
    return nanoseconds(t);
}

static void check_clocks(void)
{
    static const int ids[] = { 0, 1, 2, 3, 4, 5, 6, 7, 11 };
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        long before = clock(ids[i]), after = clock(ids[i]);
        CHECK(after >= before);
        timespec resolution;
        CHECK_EQ(sys(clock_getres, ids[i], &resolution), 0);
        CHECK(nanoseconds(resolution) > 0);
    }
    long last = clock(1);
    for (int i = 0; i < 1000; i++) {
        long now = clock(1);
        if (!CHECK(now >= last))
            break;
        last = now;
    }
    timespec t;
    CHECK_EQ(sys(clock_gettime, 99, &t), -EINVAL);
    CHECK_EQ(sys(clock_gettime, 1, 8), -EFAULT);
    CHECK_EQ(sys(clock_getres, 99, &t), -EINVAL);
    long real = clock(0) / 1000000000, seconds = sys(time, NULL);
    CHECK(seconds >= real - 1 && seconds <= real + 1);
    struct { long s, us; } tv;
    CHECK_EQ(sys(gettimeofday, &tv, NULL), 0);
    CHECK(tv.s >= real && tv.s <= real + 1 && tv.us < 1000000);
    CHECK(real > 1500000000);
    passed("clocks");
}

// Finds a symbol of the vDSO through its dynamic section, as a C library does.
static void *vdso_symbol(const char *name)
{
    const char *base = (const char *)auxv_get(AT_SYSINFO_EHDR);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(base + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    const char *load = NULL;
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD && !load)
            load = base + segments[i].p_offset - segments[i].p_vaddr;
        else if (segments[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(base + segments[i].p_offset);
    }
    if (!load || !dynamic)
        return NULL;
    const Elf64_Sym *symbols = NULL;
    const char *names = NULL;
    size_t count = 0;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        const void *at = load + dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = at;
        else if (dynamic->d_tag == DT_STRTAB)
            names = at;
        else if (dynamic->d_tag == DT_HASH)
            count = ((const uint32_t *)at)[1];
    }
    if (!count && names && symbols)         // newer kernels leave DT_HASH out; the strings follow the symbols there
        count = (size_t)((const Elf64_Sym *)names - symbols);
    for (size_t i = 0; symbols && names && i < count; i++)
        if (symbols[i].st_shndx && !strcmp(names + symbols[i].st_name, name))
            return (void *)(load + symbols[i].st_value);
    return NULL;
}

static void check_vdso(void)
{
    long (*get)(int, timespec *) = vdso_symbol("__vdso_clock_gettime");
    long (*day)(void *, void *) = vdso_symbol("__vdso_gettimeofday");
    long (*seconds)(long *) = vdso_symbol("__vdso_time");
    long (*cpu)(unsigned *, unsigned *, void *) = vdso_symbol("__vdso_getcpu");
    REQUIRE(get && day && seconds && cpu);
    for (int id = 0; id < 2; id++) {
        for (int i = 0; i < 100; i++) {
            timespec t = { 0, 0 };
            long before = clock(id);
            CHECK_EQ(get(id, &t), 0);
            long after = clock(id);
            if (!CHECK(nanoseconds(t) >= before && nanoseconds(t) <= after))
                break;
        }
    }
    static const int served[] = { 4, 5, 6, 7, 11 };
    for (size_t i = 0; i < COUNT_OF(served); i++) {
        timespec t = { 0, -1 };
        CHECK_EQ(get(served[i], &t), 0);
        // Coarse clocks and those of other kernels may lag by a tick.
        long difference = clock(served[i]) - nanoseconds(t);
        CHECK(difference > -20000000 && t.tv_nsec >= 0);
    }
    timespec none;
    CHECK_EQ(get(2, &none), 0);
    CHECK_EQ(get(99, &none), -EINVAL);
    CHECK_EQ(get(31, &none), -EINVAL);
    timespec earlier = { 0, 0 };
    for (int i = 0; i < 10000; i++) {
        timespec later;
        get(1, &later);
        if (!CHECK(nanoseconds(later) >= nanoseconds(earlier)))
            break;
        earlier = later;
    }
    struct { long s, us; } tv = { 0, 0 }, zone = { -1, -1 };
    CHECK_EQ(day(&tv, &zone), 0);
    CHECK(tv.us >= 0 && tv.us < 1000000);
    CHECK_EQ(zone.s, 0);
    CHECK_EQ(zone.us, -1);
    CHECK_EQ(day(NULL, NULL), 0);
    CHECK_EQ(cpu(NULL, NULL, NULL), 0);
    long now = sys(time, NULL), stored = 0;
    CHECK(tv.s >= now - 1 && tv.s <= now + 1);
    long told = seconds(&stored);
    CHECK_EQ(told, stored);
    CHECK(stored >= now - 1 && stored <= now + 1);
    CHECK_EQ(seconds(NULL) - stored <= 1, true);
    unsigned c = ~0u, node = ~0u;
    CHECK_EQ(cpu(&c, &node, NULL), 0);
    CHECK(c < 4096);
    CHECK_EQ(node, 0);
    CHECK_EQ(sys(getcpu, &c, &node, NULL), 0);
    passed("vDSO");
}

static void check_sleep(void)
{
    long start = clock(1);
    timespec t = { 0, 2000000 }, rest;
    CHECK_EQ(sys(nanosleep, &t, &rest), 0);
    CHECK(clock(1) - start >= 2000000);
    long until = clock(1) + 2000000;
    t = (timespec){ until / 1000000000, until % 1000000000 };
    CHECK_EQ(sys(clock_nanosleep, 1, 1, &t, NULL), 0);
    CHECK(clock(1) >= until);
    t = (timespec){ 0, 1000000000 };
    CHECK_EQ(sys(nanosleep, &t, NULL), -EINVAL);
    t = (timespec){ 0, 0 };
    CHECK_EQ(sys(nanosleep, &t, NULL), 0);
    CHECK_EQ(sys(nanosleep, 8, NULL), -EFAULT);
    CHECK_EQ(sys(clock_nanosleep, 99, 0, &t, NULL), -EINVAL);
    passed("sleep");
}

static volatile int alarms, ticks, expiries, last_value;

static void on_alarm(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    if (signal == SIGALRM)
        alarms++;
    else if (signal == SIGUSR1)
        expiries++, last_value = info->si_value.sival_int;
    else
        ticks++;
}

static void check_timers(void)
{
    struct { struct { long s, us; } interval, value; } it = { { 0, 2000 }, { 0, 2000 } }, old;
    signal_handle(SIGALRM, on_alarm, 0, 0);
    CHECK_EQ(sys(setitimer, 0, &it, NULL), 0);
    while (alarms < 3)
        sys(pause);
    it.interval.us = it.value.us = 0;
    CHECK_EQ(sys(setitimer, 0, &it, &old), 0);
    CHECK_EQ(old.interval.us, 2000);
    CHECK_EQ(sys(alarm, 50), 0);
    long left = sys(alarm, 0);
    CHECK(left == 50 || left == 49);
    CHECK_EQ(sys(setitimer, 9, &it, NULL), -EINVAL);
    passed("interval timer and alarm");

    timespec t = { 10, 0 }, rest = { 0, 0 };
    it.value.us = 3000;
    sys(setitimer, 0, &it, NULL);
    CHECK_EQ(sys(nanosleep, &t, &rest), -EINTR);
    CHECK(rest.tv_sec >= 5 && rest.tv_sec < 10);
    passed("interrupted sleep");

    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
    int id = -1;
    signal_handle(SIGUSR1, on_alarm, 0, 0);
    CHECK_EQ(sys(timer_create, 1, &event, &id), 0);
    struct __kernel_itimerspec spec = { { 0, 1000000 }, { 0, 1000000 } };
    CHECK_EQ(sys(timer_settime, id, 0, &spec, NULL), 0);
    while (expiries < 3)
        sys(pause);
    CHECK_EQ(last_value, 77);
    CHECK_EQ(sys(timer_gettime, id, &spec), 0);
    CHECK_EQ(spec.it_interval.tv_nsec, 1000000);
    CHECK(sys(timer_getoverrun, id) >= 0);
    CHECK_EQ(sys(timer_delete, id), 0);
    CHECK_EQ(sys(timer_delete, id), -EINVAL);
    CHECK_EQ(sys(timer_create, 99, &event, &id), -EINVAL);
    passed("POSIX timer");

    // Processor-time timers count only what the process itself runs.
    signal_handle(SIGVTALRM, on_alarm, 0, 0);
    it.value.us = 1000;
    CHECK_EQ(sys(setitimer, 1, &it, NULL), 0);
    while (!ticks)
        __builtin_ia32_pause();
    CHECK(clock(2) > 0);
    passed("virtual timer");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_clocks();
    check_vdso();
    check_sleep();
    check_timers();
    return report();
}

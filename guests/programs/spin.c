// Never ends by itself: spin [sleep|fork|threads|catch], for time-outs and Ctrl-C. `catch` ends with 5 at the first SIGINT.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

static void on_interrupt(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    print("caught %d\n", signal);
    exit_group(5);
}

static volatile long counter;

static void spin(void *argument)
{
    (void)argument;
    for (;;)
        counter++;
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    const char *way = argc > 1 ? argv[1] : "";
    print("spinning\n");
    if (!strcmp(way, "sleep"))
        for (;;)
            sys(pause);
    if (!strcmp(way, "fork"))
        sys(fork);
    if (!strcmp(way, "threads"))
        for (int i = 0; i < 3; i++)
            thread_start(spin, NULL);
    if (!strcmp(way, "catch"))
        signal_handle(SIGINT, on_interrupt, 0, 0);
    spin(NULL);
    return 0;
}

// qsort, bsearch, strings, time conversion, environment, setjmp, atexit, signals through the C library.
#include <ctype.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static jmp_buf back;
static sigjmp_buf recovery;
static volatile sig_atomic_t seen;

static void deep(int level)
{
    if (level == 0)
        longjmp(back, 17);
    deep(level - 1);
}

static void on_segv(int signal)
{
    seen = signal;
    siglongjmp(recovery, 1);
}

static void first(void) { puts("first handler"); }
static void second(void) { puts("second handler"); }

int main(void)
{
    static int values[5000];
    srand(1);
    unsigned state = 99;
    for (int i = 0; i < 5000; i++)
        values[i] = (int)((state = state * 1103515245u + 12345u) >> 8 & 0xffff);
    qsort(values, 5000, sizeof *values, compare);
    int ordered = 1;
    for (int i = 1; i < 5000; i++)
        ordered &= values[i - 1] <= values[i];
    int *found = bsearch(&values[1234], values, 5000, sizeof *values, compare);
    printf("ordered %d, found %d\n", ordered, found && *found == values[1234]);

    char text[64] = "one,two,,three";
    for (char *token = strtok(text, ","); token; token = strtok(NULL, ","))
        printf("[%s]", token);
    printf("\n%d %d %d %zu\n", strcmp("abc", "abd") < 0, strncmp("abcd", "abcx", 3), memcmp("a", "b", 1) < 0, strspn("aabbc", "ab"));
    char copy[200];
    memset(copy, 'x', sizeof copy);
    memmove(copy + 3, copy, 100);
    copy[150] = 0;
    printf("%zu %s %s\n", strlen(copy), strchr("hello", 'l'), strrchr("hello", 'l'));
    printf("%c%c %d\n", toupper('q'), tolower('W'), isdigit('7') != 0);

    time_t moment = 1700000000;
    struct tm *t = gmtime(&moment);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %a %j", t);
    puts(text);
    printf("%ld\n", (long)(mktime(t) != (time_t)-1));

    setenv("NEW", "value", 1);
    printf("%s %s\n", getenv("NEW"), getenv("NOT_THERE") ? "set" : "unset");
    int value = setjmp(back);
    if (!value)
        deep(20);
    printf("jumped with %d\n", value);
    signal(SIGSEGV, on_segv);
    if (!sigsetjmp(recovery, 1))
        *(volatile int *)(long)(value - 17) = 1;
    printf("recovered from %d\n", (int)seen);

    atexit(first);
    atexit(second);
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        _exit(9);
    int status = 0;
    waitpid(child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    int ends[2];
    if (pipe(ends))
        return 1;
    fflush(stdout);
    child = fork();
    if (!child) {
        dup2(ends[1], 1);
        printf("through a pipe");
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    char got[32] = "";
    ssize_t size = read(ends[0], got, 31);
    waitpid(child, &status, 0);
    printf("%zd %s\n", size, got);
    signal(SIGABRT, SIG_DFL);
    return 0;
}

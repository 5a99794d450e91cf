// The C library's views of the system: directories, processes, limits, times, popen, temporary files, shared memory.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

int main(int argc, char **argv)
{
    char name[] = "/tmp/system-XXXXXX", path[64];
    int fd = mkstemp(name);
    printf("temporary %d\n", fd >= 0);
    unlink(name);
    if (mkdir(name, 0700))
        return puts(strerror(errno)), 1;
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%d", name, i);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    DIR *directory = opendir(name);
    int entries = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        entries += entry->d_name[0] != '.';
    closedir(directory);
    printf("%d entries\n", entries);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%d", name, i);
        unlink(path);
    }
    printf("removed %d\n", rmdir(name));

    struct stat st;
    int known = stat("/dev/null", &st);
    printf("null %d %d\n", known, S_ISCHR(st.st_mode) != 0);
    struct utsname uts;
    printf("%d %s %s\n", uname(&uts), uts.sysname, uts.machine);
    struct rlimit limit;
    printf("limit %d\n", getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 10);
    printf("cpus %d page %ld\n", sysconf(_SC_PAGESIZE) > 0, (long)sysconf(_SC_PAGESIZE));
    printf("pid %d parent %d\n", getpid() > 0, getppid() >= 0);

    signal(SIGALRM, on_alarm);
    struct itimerval timer = { { 0, 0 }, { 0, 2000 } };
    setitimer(ITIMER_REAL, &timer, NULL);
    while (!alarms)
        pause();
    puts("alarm");
    fd_set set;
    int ends[2];
    if (pipe(ends))
        return 1;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    struct timeval soon = { 0, 1000 };
    printf("select %d\n", select(ends[0] + 1, &set, NULL, NULL, &soon));
    time_t now = time(NULL);
    struct timespec spec;
    clock_gettime(CLOCK_REALTIME, &spec);
    printf("time %d\n", labs((long)(spec.tv_sec - now)) <= 1);
    printf("clock %d\n", clock() >= 0);

    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(map + 4090, "across two pages");
    puts(map + 4090);
    munmap(map, 8192);
    fflush(stdout);
    if (argc == 3) {
        char *again[] = { argv[0], "exec", NULL };
        pid_t child = fork();
        if (!child) {
            execv("/proc/self/exe", again);
            _exit(127);
        }
        int status;
        waitpid(child, &status, 0);
        printf("executed itself: %d\n", WEXITSTATUS(status));
    }
    return argc == 2 ? 42 : 0;
}

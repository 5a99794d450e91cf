// An open that finds no descriptor free creates nothing.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    char name[64];
    snprintf(name, sizeof name, "/tmp/limit-%d", (int)getpid());
    struct rlimit limit, none = { 3, 3 };
    getrlimit(RLIMIT_NOFILE, &limit);
    none.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600), error = errno;
    struct stat status;
    printf("%d %d, there: %d\n", fd, error, stat(name, &status) == 0);
    setrlimit(RLIMIT_NOFILE, &limit);
    fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    printf("%d\n", fd);
    return unlink(name);
}

// Runs a donor and a consumer: the programs that are named, each in a process of its own, or with "fork" a donor that forks.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define main donor_main
#include "donor.c"
#undef main

static int run(const char *program)
{
    pid_t pid = fork();
    int status = -1;
    if (pid == 0) {
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return status;
}

static int run_and_fork(void)
{
    int status = donor_main(), child = -1;
    char *text = (char *)(1UL << 41);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        // What the parent has mapped is there already.
        printf("Child reads: %s\n", text);
        strcpy(text, "An answer");
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &child, 0);
    printf("Parent reads: %s\n", text);
    return status | child;
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc > 1 && strcmp(argv[1], "fork") == 0)
        status = run_and_fork();
    else
        for (int i = 1; i < argc; i++)
            status |= run(argv[i]);
    unlink("/sys/fs/mshare/shareme");
    return status != 0;
}

// Runs donor and consumer: both: [donor|consumer] in processes of their own, or with "fork" as parent and child.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define main donor_main
#include "donor.c"
#undef main
#define main consumer_main
#include "consumer.c"
#undef main

static int run(char *self, char *part)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        execl(self, self, part, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "donor") == 0)
        return donor_main();
    if (argc > 1 && strcmp(argv[1], "consumer") == 0)
        return consumer_main();
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        int status = donor_main();
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            // What the parent has mapped is there already.
            char *text = (char *)(1UL << 41);
            printf("Child reads: %s\n", text);
            strcpy(text, "An answer");
            fflush(stdout);
            _exit(0);
        }
        int child;
        waitpid(pid, &child, 0);
        printf("Parent reads: %s\n", (char *)(1UL << 41));
        unlink("/sys/fs/mshare/shareme");
        return status | child;
    }
    int status = run("/proc/self/exe", "donor") | run("/proc/self/exe", "consumer");
    unlink("/sys/fs/mshare/shareme");
    return status != 0;
}

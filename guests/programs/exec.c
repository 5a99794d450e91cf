// execve of itself with other arguments and environments, and what survives: exec (the other arguments are internal).
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

#include <linux/auxvec.h>
#include <linux/wait.h>

static const char *self_path;

static int execute(char **argv, char **envp)
{
    long result = sys(execve, self_path, argv, envp);
    print("execve gives %ld\n", result);
    return 99;
}

static int start_stage(void *argument)
{
    char *argv[] = { "exec", argument, "two words", "", "last", NULL };
    char *envp[] = { "STAGE=1", "EMPTY=", NULL };
    return execute(argv, envp);
}

static int start_countdown(void *argument)
{
    (void)argument;
    char *argv[] = { "exec", "countdown", "20", NULL };
    char *envp[] = { NULL };
    return execute(argv, envp);
}

static int start_survivors(void *argument)
{
    (void)argument;
    int fd = (int)sys(memfd_create, "kept", 0), closed = (int)sys(memfd_create, "closed", MFD_CLOEXEC);
    sys(write, fd, "kept", 4);
    sys(dup2, fd, 50);
    sys(dup3, closed, 51, O_CLOEXEC);
    signal_set(SIGUSR1, SIG_IGN);
    signal_handle(SIGUSR2, (signal_action)(void *)start_stage, 0, 0);
    signal_mask(SIG_BLOCK, SIGNAL_BIT(SIGTERM));
    sys(kill, process_id(), SIGTERM);
    sys(umask, 0123);
    char pid[24];
    format_into(pid, sizeof pid, "%ld", process_id());
    char *argv[] = { "exec", "survivors", pid, NULL };
    char *envp[] = { NULL };
    return execute(argv, envp);
}

static void wait_here(void *argument)
{
    (void)argument;
    for (;;)
        sys(pause);
}

static uint32_t execute_result;

static void exec_from_thread(void *argument)
{
    start_stage(argument);
    STORE(&execute_result, 1);
}

static int start_from_thread(void *argument)
{
    for (int i = 0; i < 3; i++)
        thread_start(wait_here, NULL);
    thread_start(exec_from_thread, argument);
    wait_here(NULL);
    return 98;
}

static int stage(int argc, char **argv, char **envp)
{
    CHECK_EQ(argc, 5);
    CHECK_TEXT(argv[0], "exec");
    CHECK_TEXT(argv[2], "two words");
    CHECK_TEXT(argv[3], "");
    CHECK_TEXT(argv[4], "last");
    CHECK_TEXT(envp[0], "STAGE=1");
    CHECK_TEXT(envp[1], "EMPTY=");
    CHECK(envp[2] == NULL);
    CHECK_EQ(process_id(), thread_id());
    return failures() ? 1 : 30;
}

static int countdown(char **argv)
{
    long left = arg_number(3, argv, 2, 0);
    if (!left)
        return 31;
    char number[24];
    format_into(number, sizeof number, "%ld", left - 1);
    char *next[] = { "exec", "countdown", number, NULL };
    char *envp[] = { NULL };
    return execute(next, envp);
}

static int survivors(char **argv)
{
    CHECK_EQ(arg_number(3, argv, 2, 0), process_id());
    char text[8] = { 0 };
    CHECK_EQ(sys(pread64, 50, text, 4, 0), 4);
    CHECK_TEXT(text, "kept");
    CHECK_EQ(sys(fcntl, 51, F_GETFD), -EBADF);
    struct sigaction action;
    sys(rt_sigaction, SIGUSR1, NULL, &action, 8);
    CHECK(action.sa_handler == SIG_IGN);
    sys(rt_sigaction, SIGUSR2, NULL, &action, 8);
    CHECK(action.sa_handler == SIG_DFL);
    CHECK_EQ(signal_mask(SIG_BLOCK, 0), SIGNAL_BIT(SIGTERM));
    uint64_t pending = 0;
    sys(rt_sigpending, &pending, 8);
    CHECK_EQ(pending, SIGNAL_BIT(SIGTERM));
    CHECK_EQ(sys(umask, 0), 0123);
    return failures() ? 1 : 32;
}

static void check_errors(void)
{
    static char *none[] = { NULL }, *one[] = { "x", NULL };
    CHECK_EQ(sys(execve, "/no/such/file", one, none), -ENOENT);
    CHECK_EQ(sys(execve, "", one, none), -ENOENT);
    CHECK_EQ(sys(execve, 8, one, none), -EFAULT);
    CHECK_EQ(sys(execve, "/tmp", one, none), -EACCES);
    CHECK_EQ(sys(execve, self_path, 8, none), -EFAULT);
    char path[64];
    format_into(path, sizeof path, "/tmp/guest-exec-%ld", process_id());
    int fd = (int)sys(open, path, O_CREAT | O_WRONLY | O_EXCL, 0644);
    sys(write, fd, "plain text\n", 11);
    sys(close, fd);
    CHECK_EQ(sys(execve, path, one, none), -EACCES);
    sys(chmod, path, 0755);
    CHECK_EQ(sys(execve, path, one, none), -ENOEXEC);
    fd = (int)sys(open, path, O_WRONLY | O_TRUNC);
    sys(write, fd, "#!/no/such/interpreter\n", 23);
    sys(close, fd);
    CHECK_EQ(sys(execve, path, one, none), -ENOENT);
    sys(unlink, path);
    passed("errors");
}

int main(int argc, char **argv, char **envp)
{
    self_path = "/proc/self/exe";
    if (argc > 1 && !strcmp(argv[1], "stage"))
        return stage(argc, argv, envp);
    if (argc > 1 && !strcmp(argv[1], "countdown"))
        return countdown(argv);
    if (argc > 1 && !strcmp(argv[1], "survivors"))
        return survivors(argv);

    CHECK_EQ(status_of_child(start_stage, "stage"), EXITED(30));
    passed("arguments and environment");
    CHECK_EQ(status_of_child(start_countdown, NULL), EXITED(31));
    passed("countdown");
    CHECK_EQ(status_of_child(start_survivors, NULL), EXITED(32));
    passed("survivors");
    CHECK_EQ(status_of_child(start_from_thread, "stage"), EXITED(30));
    passed("from another thread");
    check_errors();
    return report();
}

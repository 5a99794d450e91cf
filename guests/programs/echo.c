// Arguments, environment and auxiliary vector as the kernel hands them over.
#include "guest.h"

#include <linux/auxvec.h>

static void print_quoted(const char *text)
{
    print("\"");
    for (; *text; text++)
        *text >= ' ' && *text < 127 && *text != '"' ? print("%c", *text) : print("\\x%02x", (unsigned char)*text);
    print("\"\n");
}

static void check_auxv(void)
{
    CHECK_EQ(auxv_get(AT_PAGESZ), PAGE);
    CHECK_EQ(auxv_get(AT_PHENT), 56);
    CHECK(auxv_get(AT_PHNUM) >= 3);
    CHECK(auxv_get(AT_PHDR) != 0);
    CHECK(auxv_get(AT_ENTRY) != 0);
    CHECK_EQ(auxv_get(AT_CLKTCK), 100);
    CHECK_EQ(auxv_get(AT_BASE), 0);
    CHECK_EQ(auxv_get(AT_SECURE), 0);
    CHECK_EQ(auxv_get(AT_UID), sys(getuid));
    CHECK_EQ(auxv_get(AT_EUID), sys(geteuid));
    CHECK_EQ(auxv_get(AT_GID), sys(getgid));
    CHECK_EQ(auxv_get(AT_EGID), sys(getegid));
    CHECK(auxv_has(AT_RANDOM) && auxv_get(AT_RANDOM) != 0);
    CHECK(auxv_has(AT_EXECFN) && strlen((const char *)auxv_get(AT_EXECFN)) > 0);
    CHECK(auxv_has(AT_PLATFORM));
    CHECK_TEXT((const char *)auxv_get(AT_PLATFORM), "x86_64");
    CHECK(auxv_has(AT_SYSINFO_EHDR));
    CHECK(!memcmp((const void *)auxv_get(AT_SYSINFO_EHDR), "\x7f" "ELF", 4));
    passed("auxv");
}

int main(int argc, char **argv, char **envp)
{
    print("argc %d\n", argc);
    for (int i = 1; i < argc; i++) {
        print("argv[%d] ", i);
        print_quoted(argv[i]);
    }
    CHECK(argv[argc] == NULL);
    CHECK(envp == argv + argc + 1);
    for (int i = 0; envp[i]; i++) {
        print("envp[%d] ", i);
        print_quoted(envp[i]);
    }
    check_auxv();
    return report();
}

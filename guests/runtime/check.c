#include "guest.h"

static int failed, failed_before;

static void fail(const char *file, int line)
{
    __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
    print("FAIL %s:%d: ", file, line);
}

bool check_that(bool holds, const char *file, int line, const char *text)
{
    if (!holds) {
        fail(file, line);
        print("%s\n", text);
    }
    return holds;
}

bool check_equal(long actual, long expected, const char *file, int line, const char *text)
{
    if (actual == expected)
        return true;
    fail(file, line);
    print("%s is %ld (0x%lx), not %ld (0x%lx)\n", text, actual, (unsigned long)actual, expected, (unsigned long)expected);
    return false;
}

bool check_text(const char *actual, const char *expected, const char *file, int line, const char *text)
{
    if (!strcmp(actual, expected))
        return true;
    fail(file, line);
    print("%s is \"%s\", not \"%s\"\n", text, actual, expected);
    return false;
}

int failures(void)
{
    return __atomic_load_n(&failed, __ATOMIC_RELAXED);
}

void passed(const char *name)
{
    print(failures() == failed_before ? "ok %s\n" : "FAIL %s\n", name);
    failed_before = failures();
}

int report(void)
{
    if (failures())
        print("%d checks failed\n", failures());
    else
        print("all passed\n");
    return failures() ? 1 : 0;
}

// Self-checks. A failed check prints `FAIL file:line: ...` and lets the program go on; passed(NAME) closes a group of
// checks with `ok NAME` or `FAIL NAME`; report() is what main returns. Any thread, and a forked child, may check.
#pragma once

#define CHECK(condition) check_that((condition) ? 1 : 0, __FILE__, __LINE__, #condition)
#define CHECK_EQ(actual, expected) \
    check_equal((long)(actual), (long)(expected), __FILE__, __LINE__, #actual)
#define CHECK_TEXT(actual, expected) check_text(actual, expected, __FILE__, __LINE__, #actual)
#define REQUIRE(condition) \
    do { if (!CHECK(condition)) exit_group(report() ? 1 : 1); } while (0)

bool check_that(bool holds, const char *file, int line, const char *text);
bool check_equal(long actual, long expected, const char *file, int line, const char *text);
bool check_text(const char *actual, const char *expected, const char *file, int line, const char *text);

void passed(const char *name);
int report(void);

// Failed checks so far: a child returns it as its exit status, and the parent checks that status.
int failures(void);

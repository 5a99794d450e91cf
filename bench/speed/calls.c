// Recursive calls.
#include <stdio.h>

static unsigned __attribute__((noinline)) fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

int main(void)
{
    unsigned f = fib(39);
    printf("%u\n", f);
    return f != 63245986;
}

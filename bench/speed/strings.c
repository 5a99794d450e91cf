// REP MOVSB and REP STOSB over 8 MiB.
#include <stdio.h>

static char a[8 << 20], b[8 << 20];

int main(void)
{
    for (int i = 0; i < 60; i++) {
        void *d = a, *s;
        unsigned long n = sizeof a;
        __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(i) : "memory");
        d = b, s = a, n = sizeof a;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    }
    printf("%d\n", b[12345]);
    return b[12345] != 59;
}

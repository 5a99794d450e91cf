// Counts primes with a sieve and by trial division: primes [LIMIT].
#include "guest.h"

static long count_sieved(long limit)
{
    unsigned char *composite = allocate((size_t)limit + 1);
    memset(composite, 0, (size_t)limit + 1);
    long count = 0;
    for (long n = 2; n <= limit; n++) {
        if (composite[n])
            continue;
        count++;
        for (long multiple = n * n; multiple <= limit; multiple += n)
            composite[multiple] = 1;
    }
    release(composite);
    return count;
}

static long count_divided(long limit)
{
    long count = 0;
    for (long n = 2; n <= limit; n++) {
        bool prime = true;
        for (long divisor = 2; divisor * divisor <= n && prime; divisor++)
            prime = n % divisor != 0;
        count += prime;
    }
    return count;
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    static const struct { long limit, count; } known[] = {
        { 10, 4 }, { 100, 25 }, { 1000, 168 }, { 10000, 1229 }, { 100000, 9592 }, { 1000000, 78498 }
    };
    long limit = arg_number(argc, argv, 1, 200000);
    for (size_t i = 0; i < COUNT_OF(known) && known[i].limit <= limit; i++) {
        CHECK_EQ(count_sieved(known[i].limit), known[i].count);
        if (known[i].limit <= 10000)
            CHECK_EQ(count_divided(known[i].limit), known[i].count);
    }
    passed("known counts");
    print("%ld primes up to %ld\n", count_sieved(limit), limit);
    return report();
}

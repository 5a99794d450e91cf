// Several sorts on several inputs must agree: sorting [COUNT].
#include "guest.h"

typedef void (*sort)(uint32_t *values, long count);

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;
    *a = *b;
    *b = t;
}

static void insertion_sort(uint32_t *v, long count)
{
    for (long i = 1; i < count; i++) {
        uint32_t value = v[i];
        long j = i;
        for (; j && v[j - 1] > value; j--)
            v[j] = v[j - 1];
        v[j] = value;
    }
}

static void quick_sort(uint32_t *v, long count)
{
    while (count > 16) {
        uint32_t pivot = v[count / 2];
        long low = 0, high = count - 1;
        while (low <= high) {
            while (v[low] < pivot)
                low++;
            while (v[high] > pivot)
                high--;
            if (low <= high)
                swap(v + low++, v + high--);
        }
        quick_sort(v, high + 1);
        v += low;
        count -= low;
    }
    insertion_sort(v, count);
}

static void heap_sort(uint32_t *v, long count)
{
    for (long build = count / 2, end = count; end > 1;) {
        if (build)
            build--;
        else
            swap(v, v + --end);
        for (long parent = build, child; (child = parent * 2 + 1) < end; parent = child) {
            if (child + 1 < end && v[child + 1] > v[child])
                child++;
            if (v[parent] >= v[child])
                break;
            swap(v + parent, v + child);
        }
    }
}

static void merge_into(uint32_t *v, uint32_t *spare, long count)
{
    if (count < 2)
        return;
    long half = count / 2;
    merge_into(v, spare, half);
    merge_into(v + half, spare, count - half);
    memcpy(spare, v, (size_t)half * sizeof *v);
    for (long left = 0, right = half, to = 0; left < half;)
        v[to++] = right == count || spare[left] <= v[right] ? spare[left++] : v[right++];
}

static void merge_sort(uint32_t *v, long count)
{
    uint32_t *spare = allocate((size_t)count * sizeof *v);
    merge_into(v, spare, count);
    release(spare);
}

static void radix_sort(uint32_t *v, long count)
{
    uint32_t *spare = allocate((size_t)count * sizeof *v), *from = v, *to = spare;
    for (int shift = 0; shift < 32; shift += 8) {
        long starts[257] = { 0 };
        for (long i = 0; i < count; i++)
            starts[(from[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++)
            starts[i + 1] += starts[i];
        for (long i = 0; i < count; i++)
            to[starts[from[i] >> shift & 255]++] = from[i];
        uint32_t *t = from;
        from = to;
        to = t;
    }
    release(spare);
}

static void shell_sort(uint32_t *v, long count)
{
    for (long gap = count / 2; gap; gap /= 2)
        for (long i = gap; i < count; i++)
            for (long j = i; j >= gap && v[j - gap] > v[j]; j -= gap)
                swap(v + j, v + j - gap);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

static void fill(uint32_t *v, long count, int pattern)
{
    uint32_t state = 2463534242u;
    for (long i = 0; i < count; i++) {
        switch (pattern) {
        case 0: v[i] = next_random(&state); break;
        case 1: v[i] = (uint32_t)i; break;
        case 2: v[i] = (uint32_t)(count - i); break;
        case 3: v[i] = next_random(&state) % 10; break;
        default: v[i] = 7; break;
        }
    }
}

static uint64_t digest(const uint32_t *v, long count)
{
    uint64_t hash = 14695981039346656037ul;
    for (long i = 0; i < count; i++)
        hash = (hash ^ v[i]) * 1099511628211ul;
    return hash;
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    static const struct { const char *name; sort run; long most; } sorts[] = {
        { "insertion", insertion_sort, 1000 }, { "quick", quick_sort, 1L << 40 }, { "heap", heap_sort, 1L << 40 },
        { "merge", merge_sort, 1L << 40 }, { "radix", radix_sort, 1L << 40 }, { "shell", shell_sort, 1L << 40 },
    };
    static const char *const patterns[] = { "random", "ascending", "descending", "repeating", "constant" };
    long count = arg_number(argc, argv, 1, 5000);
    uint32_t *v = allocate((size_t)count * sizeof *v);
    for (size_t s = 0; s < COUNT_OF(sorts); s++) {
        long n = count < sorts[s].most ? count : sorts[s].most;
        for (int p = 0; p < (int)COUNT_OF(patterns); p++) {
            fill(v, n, p);
            uint64_t sum = 0, sum_after = 0;
            for (long i = 0; i < n; i++)
                sum += v[i];
            sorts[s].run(v, n);
            bool ordered = true;
            for (long i = 0; i < n; i++) {
                ordered &= !i || v[i - 1] <= v[i];
                sum_after += v[i];
            }
            CHECK(ordered);
            CHECK_EQ(sum_after, sum);
            if (n == count)
                print("%-9s %-10s %016lx\n", sorts[s].name, patterns[p], digest(v, n));
        }
        passed(sorts[s].name);
    }
    release(v);
    return report();
}

// mmap, touch, munmap.
#include <stdio.h>
#include <sys/mman.h>

int main(void)
{
    for (int i = 0; i < 20000; i++) {
        char *p = mmap(0, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int j = 0; j < 16; j++)
            p[j << 12] = j;
        munmap(p, 16 << 12);
    }
    printf("mapped\n");
    return 0;
}

// Matrix multiplications in double precision.
#include <stdio.h>

enum { N = 256 };
static double a[N][N], b[N][N], c[N][N];

int main(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] = (i + j) * 0.1, b[i][j] = (i - j) * 0.3;
    for (int round = 0; round < 6; round++)
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++)
                    c[i][j] += a[i][k] * b[k][j];
    printf("%.3f\n", c[17][201]);
    return 0;
}

// Five bodies under gravity: scalar double precision with divisions and square roots.
#include <math.h>
#include <stdio.h>

static struct { double x[3], v[3], m; } body[5] = {
    { { 0, 0, 0 }, { 0, 0, 0 }, 40 }, { { 5, -1, 0.1 }, { 0.6, 2.8, 0 }, 0.04 }, { { 8, 4, -0.4 }, { -1, 1.8, 0 }, 0.01 },
    { { 13, -15, -0.2 }, { 1, 0.9, 0 }, 0.002 }, { { 15, -26, 0.2 }, { 1, 0.6, 0 }, 0.002 },
};

int main(void)
{
    for (int step = 0; step < 1200000; step++) {
        for (int i = 0; i < 5; i++) {
            for (int j = i + 1; j < 5; j++) {
                double d[3], square = 0;
                for (int k = 0; k < 3; k++)
                    d[k] = body[i].x[k] - body[j].x[k], square += d[k] * d[k];
                double pull = 0.001 / (square * sqrt(square));
                for (int k = 0; k < 3; k++)
                    body[i].v[k] -= d[k] * body[j].m * pull, body[j].v[k] += d[k] * body[i].m * pull;
            }
        }
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 3; k++)
                body[i].x[k] += 0.001 * body[i].v[k];
    }
    printf("%.9f\n", body[0].x[0]);
    return 0;
}

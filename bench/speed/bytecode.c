// The loop of a bytecode interpreter: a table of jump targets, hard to predict.
#include <stdio.h>

enum { PUSH, ADD, SUB, DUP, SWAP, DEC, JNZ, HALT, MUL, XOR };

static long run(const unsigned char *code)
{
    long stack[16], *sp = stack;
    for (const unsigned char *pc = code;;) {
        switch (*pc++) {
        case PUSH: *++sp = *pc++; break;
        case ADD: sp[-1] += sp[0]; sp--; break;
        case SUB: sp[-1] -= sp[0]; sp--; break;
        case MUL: sp[-1] *= sp[0]; sp--; break;
        case XOR: sp[-1] ^= sp[0]; sp--; break;
        case DUP: sp[1] = sp[0]; sp++; break;
        case SWAP: { long t = sp[0]; sp[0] = sp[-1]; sp[-1] = t; break; }
        case DEC: --*sp; break;
        case JNZ: if (*sp) pc = code + *pc; else pc++; break;
        case HALT: return sp[-1];
        }
    }
}

int main(void)
{
    // acc = 1; for (n = 250; n; n--) acc = (acc * 31 ^ n) + 7 - n
    static const unsigned char code[] = { PUSH, 1, PUSH, 250, SWAP, PUSH, 31, MUL, SWAP, DUP, PUSH, 0, ADD, SWAP, DEC, SWAP, PUSH, 3, XOR, PUSH, 7, ADD, PUSH, 0, MUL, ADD, JNZ, 4, HALT };
    long sum = 0;
    for (int i = 0; i < 20000; i++)
        sum += run(code);
    printf("%ld\n", sum);
    return 0;
}

// Formatted output and input, files, seeking, pushback, string streams.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("argument %d is %s\n", i, argv[i]);
    char line[64] = "", word[16] = "";
    int number = 0;
    double real = 0;
    if (fgets(line, sizeof line, stdin))
        printf("read: %s", line);
    if (scanf("%15s %d %lf", word, &number, &real) == 3)
        printf("scanned %s %d %.2f\n", word, number, real);
    printf("%d %5d|%-5d|%05d %+d %x %X %o %c %s %.2s %10s|%-10s|%%\n", -1, 42, 42, 42, 7, 255, 255, 8, 'c', "text", "cut", "right", "left");
    printf("%ld %lu %lld %hhd %hd %zu\n", -1L, 1UL << 63, -9000000000000000000LL, (char)-3, (short)-4, (size_t)12);
    printf("%f %.3f %e %g %g %g %10.4f|\n", 3.14159, 2.71828, 12345.678, 0.0001, 1e20, 100000.0, 1.5);

    FILE *file = tmpfile();
    if (!file)
        return puts("no temporary file"), 1;
    for (int i = 0; i < 1000; i++)
        fprintf(file, "line %d\n", i);
    fseek(file, 0, SEEK_END);
    printf("size %ld\n", ftell(file));
    rewind(file);
    int lines = 0, c;
    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    printf("%d lines, eof %d error %d\n", lines, feof(file) != 0, ferror(file));
    fseek(file, 10, SEEK_SET);
    ungetc('#', file);
    printf("pushed back %c%c\n", getc(file), 'x');
    static char big[100000];
    memset(big, 'b', sizeof big);
    fseek(file, 0, SEEK_SET);
    printf("wrote %zu\n", fwrite(big, 1, sizeof big, file));
    fflush(file);
    fseek(file, 99990, SEEK_SET);
    printf("read %zu\n", fread(big, 1, 100, file));
    fclose(file);

    printf("%s, %s, %s\n", strerror(ENOENT), strerror(EACCES), strerror(EINVAL));
    printf("%ld %lu %f\n", strtol("-123abc", NULL, 10), strtoul("0xff", NULL, 0), strtod("1.5e3", NULL));
    if (!fopen("/no/such/file", "r"))
        printf("errno %d\n", errno);
    fprintf(stderr, "to stderr\n");
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("unbuffered\n");
    return 3;
}

#include "guest.h"

typedef struct { char *at, *end; int length; } sink;

static void put(sink *s, char c)
{
    s->length++;
    if (s->at < s->end)
        *s->at++ = c;
}

static void put_padded(sink *s, const char *text, int length, int width, bool left, char fill)
{
    if (!left)
        for (int i = length; i < width; i++)
            put(s, fill);
    for (int i = 0; i < length; i++)
        put(s, text[i]);
    if (left)
        for (int i = length; i < width; i++)
            put(s, ' ');
}

static void put_number(sink *s, unsigned long value, bool negative, unsigned base, bool prefix, int width, bool left, bool zeros)
{
    char digits[32], *at = digits + sizeof digits;
    do
        *--at = "0123456789abcdef"[value % base];
    while (value /= base);
    if (prefix)
        *--at = 'x', *--at = '0';
    if (negative && zeros) {
        put(s, '-');
        width--;
    } else if (negative) {
        *--at = '-';
    }
    put_padded(s, at, (int)(digits + sizeof digits - at), width, left, zeros && !left ? '0' : ' ');
}

int format_list(char *buffer, size_t size, const char *format, va_list arguments)
{
    sink s = { buffer, buffer + (size ? size - 1 : 0), 0 };
    for (; *format; format++) {
        if (*format != '%') {
            put(&s, *format);
            continue;
        }
        bool left = false, zeros = false, wide = false;
        int width = 0, precision = -1;
        for (format++; *format == '-' || *format == '0'; format++)
            *format == '-' ? (left = true) : (zeros = true);
        if (*format == '*')
            width = va_arg(arguments, int), format++;
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + *format - '0';
        if (*format == '.')
            for (precision = 0, format++; *format >= '0' && *format <= '9'; format++)
                precision = precision * 10 + *format - '0';
        for (; *format == 'l' || *format == 'z'; format++)
            wide = true;
        switch (*format) {
        case 'd': {
            long value = wide ? va_arg(arguments, long) : va_arg(arguments, int);
            put_number(&s, value < 0 ? -(unsigned long)value : (unsigned long)value, value < 0, 10, false, width, left, zeros);
            break;
        }
        case 'u':
        case 'x': {
            unsigned long value = wide ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned);
            put_number(&s, value, false, *format == 'u' ? 10 : 16, false, width, left, zeros);
            break;
        }
        case 'p':
            put_number(&s, va_arg(arguments, unsigned long), false, 16, true, width, left, zeros);
            break;
        case 'c': {
            char c = (char)va_arg(arguments, int);
            put_padded(&s, &c, 1, width, left, ' ');
            break;
        }
        case 's': {
            const char *text = va_arg(arguments, const char *);
            if (!text)
                text = "(null)";
            int length = 0;
            while (text[length] && length != precision)
                length++;
            put_padded(&s, text, length, width, left, ' ');
            break;
        }
        default:
            put(&s, *format);
        }
    }
    if (size)
        *s.at = 0;
    return s.length;
}

int format_into(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = format_list(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}

void write_all(int fd, const void *data, size_t count)
{
    const char *at = data;
    while (count) {
        long written = sys(write, fd, at, count);
        if (written == -EINTR || written == -EAGAIN)
            continue;
        if (written <= 0)
            return;
        at += written;
        count -= (size_t)written;
    }
}

static int print_list(int fd, const char *format, va_list arguments)
{
    char line[1024];
    int length = format_list(line, sizeof line, format, arguments);
    write_all(fd, line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
    return length;
}

int print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = print_list(1, format, arguments);
    va_end(arguments);
    return length;
}

int print_to(int fd, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = print_list(fd, format, arguments);
    va_end(arguments);
    return length;
}

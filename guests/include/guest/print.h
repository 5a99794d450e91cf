#pragma once

// Format: %d %u %x %c %s %% %p with -, 0, width, .precision, and the lengths l, ll, z. One write to the descriptor a call.
int print(const char *format, ...) __attribute__((format(printf, 1, 2)));
int print_to(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
int format_into(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int format_list(char *buffer, size_t size, const char *format, va_list arguments);

// Writes all of it, however often write is cut short.
void write_all(int fd, const void *data, size_t count);

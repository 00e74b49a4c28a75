/* stdio.h: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § printf ---- */

/* base/stdio.h: formatted text.
 * Conversions: d i u o x X c s p f F e E g G %%, flags "-+ 0#", width and precision (or
 * an asterisk), lengths hh h l ll z t j. No %n, %a, long double or wide characters.
 * vformat is the one formatter; the others are sinks for it. Pure, except kprintf.
 * twin: stdio.c decimal.c string.c */
#pragma once
#include "base/decimal.h"
#include <stdarg.h>
#include <stddef.h>

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

typedef void (*format_sink)(void *ctx, const char *text, size_t len);

int vformat(format_sink sink, void *ctx, const char *fmt, va_list ap);
int vsnprintf(char *buf, size_t cap, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
int snprintf(char *buf, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);
int vkprintf(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);
int kprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Told true before a line of kprintf's begins, false when its '\n' is out, whoever
 * prints: an interrupt handler, too. NULL: nobody is told. */
extern void (*kprintf_around)(bool begins);

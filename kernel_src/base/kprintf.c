/* kprintf.c: tangled from nbs/base/02_libc.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/02_libc.ipynb § kprintf ---- */

/* base/kprintf.c: printf to the console. The edge of stdio: vformat with the console as
 * its sink. Short pieces are gathered into lines of up to KPRINTF_CHUNK bytes; nothing is
 * ever cut. */
#include "base/console.h"
#include "base/stdio.h"
#include "base/string.h"

#define KPRINTF_CHUNK 128

void (*kprintf_around)(bool begins);

struct chunk { size_t len; char last, text[KPRINTF_CHUNK]; };

static void console_sink(void *ctx, const char *text, size_t len)
{
    struct chunk *c = ctx;
    c->last = text[len - 1];                 /* vformat has no empty pieces */
    while (len) {
        size_t left = sizeof c->text - c->len, n = len < left ? len : left;
        memcpy(c->text + c->len, text, n);
        c->len += n;
        text += n;
        len -= n;
        if (c->len == sizeof c->text) {
            console_write(c->text, c->len);
            c->len = 0;
        }
    }
}

int vkprintf(const char *fmt, va_list ap)
{
    static bool open;                        /* a line's end is still to come */
    struct chunk c = {.last = open ? 0 : '\n'};
    if (!open && kprintf_around)
        kprintf_around(true);
    int len = vformat(console_sink, &c, fmt, ap);
    console_write(c.text, c.len);
    open = c.last != '\n';
    if (!open && kprintf_around)
        kprintf_around(false);
    return len;
}

int kprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vkprintf(fmt, ap);
    va_end(ap);
    return len;
}

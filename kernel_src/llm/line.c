/* line.c: tangled from nbs/llm/23_terminal.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/23_terminal.ipynb § One character ---- */

/* line.c: see line.h. */
#include "base/string.h"
#include "llm/line.h"

#define DEL 0x7f

int text_char(const uint8_t *s, size_t n)
{
    if (n == 0)
        return -1;
    uint8_t c = s[0];
    if (c < 0x80)
        return c >= ' ' && c != DEL;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    int need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    for (int i = 1; i < need; i++) {
        if ((size_t)i == n)
            return -1;
        uint8_t low = 0x80, high = 0xbf;
        if (i == 1) {                /* no overlong form, surrogate, or beyond 10FFFF */
            low = c == 0xe0 || c == 0xc2 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
            high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        }
        if (s[i] < low || s[i] > high)
            return 0;
    }
    return need;
}

/* ---- nbs/llm/23_terminal.ipynb § The line ---- */

static void put(struct line *l, const char *s) { l->write(s, strlen(s)); }

void line_begin(struct line *l)
{
    l->len = l->width = l->n_part = 0;
    l->text[0] = 0;
    l->on_screen = LINE_SHOWN;
    put(l, l->prompt);
}

static void line_again(struct line *l)
{
    put(l, "\n");
    put(l, l->prompt);
    l->write(l->text, l->len);
}

static uint32_t line_column(const struct line *l)
{
    return (uint32_t)strlen(l->prompt) + l->width;
}

static void line_backspace(struct line *l)
{
    if (!l->len)
        return;
    bool first_column = line_column(l) % LINE_COLUMNS == 0;
    do
        l->len--;
    while ((l->text[l->len] & 0xc0) == 0x80);          /* to the character's first byte */
    l->width--;
    l->text[l->len] = 0;
    if (first_column)
        line_again(l);
    else
        put(l, "\b \b");
}

/* A line of one row vanishes; a longer one stays behind, and the cursor leaves it. */
static void line_wipe(struct line *l)
{
    bool one_row = line_column(l) < LINE_COLUMNS;
    put(l, one_row ? "\r" : "\n");
    for (uint32_t i = 0; one_row && i < line_column(l); i++)
        put(l, " ");
    put(l, one_row ? "\r" : "");
}

void line_hide(struct line *l)
{
    if (l->on_screen != LINE_SHOWN)
        return;
    line_wipe(l);
    l->on_screen = LINE_HIDDEN;
}

void line_unhide(struct line *l)
{
    if (l->on_screen != LINE_HIDDEN)
        return;
    put(l, l->prompt);
    l->write(l->text, l->len);
    l->on_screen = LINE_SHOWN;
}

static void line_text(struct line *l, uint8_t c)
{
    l->part[l->n_part++] = c;
    int n = text_char(l->part, l->n_part);
    if (n == 0 && l->n_part > 1) {
        l->part[0] = c;
        l->n_part = 1;
        n = text_char(l->part, 1);
    }
    if (n < 0)
        return;
    l->n_part = 0;
    if (n == 0 || (uint32_t)n > LINE_BYTES_MAX - l->len) {
        put(l, "\a");
        return;
    }
    memcpy(l->text + l->len, l->part, (size_t)n);
    l->len += (uint32_t)n;
    l->text[l->len] = 0;
    l->width++;
    l->write((const char *)l->part, (size_t)n);
}

enum { ESC_NONE, ESC_BEGUN, ESC_CSI, ESC_ONE_MORE };

/* Does c belong to an escape sequence that has begun? */
static bool line_escape(struct line *l, uint8_t c)
{
    uint8_t state = l->escape;
    l->escape = ESC_NONE;
    if (state == ESC_NONE || c < ' ' || c == DEL)
        return false;
    if (state == ESC_BEGUN && c == '[')
        l->escape = ESC_CSI;
    else if ((state == ESC_BEGUN && c == 'O') || (state == ESC_CSI && c == '['))
        l->escape = ESC_ONE_MORE;
    else if (state != ESC_ONE_MORE && c < (state == ESC_CSI ? 0x40 : 0x30))
        l->escape = state;
    return true;
}

#define CTRL(c) ((c) & 0x1f)

bool line_key_cancels(uint8_t key) { return key == CTRL('C') || key == CTRL('G'); }

enum line_event line_key(struct line *l, uint8_t key)
{
    bool second_half = key == '\n' && l->after_cr;
    l->after_cr = key == '\r';
    if (second_half || line_escape(l, key))
        return LINE_MORE;
    if (key == '\t')
        key = ' ';
    if (key >= ' ' && key != DEL) {
        line_text(l, key);
        return LINE_MORE;
    }
    l->n_part = 0;                             /* a control key breaks off a character */
    if (line_key_cancels(key)) {
        put(l, "^C\n");
        return LINE_CANCELLED;
    }
    switch (key) {
    case '\r':
    case '\n':
        put(l, "\n");
        l->on_screen = LINE_NOWHERE;
        return LINE_ENTERED;
    case '\b':
    case DEL: line_backspace(l); break;
    case CTRL('U'):
        line_wipe(l);
        line_begin(l);
        break;
    case CTRL('L'): line_again(l); break;
    case CTRL('['): l->escape = ESC_BEGUN; break;
    }
    return LINE_MORE;
}

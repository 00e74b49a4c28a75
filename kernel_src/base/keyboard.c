/* keyboard.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The keyboard ---- */

/* base/keyboard.c: see keyboard.h. */
#include "base/keyboard.h"

enum { KEY_RELEASED = 0x80, KEY_EXTENDED = 0xe0, KEY_CTRL = 0x1d, KEY_SHIFT_LEFT = 0x2a,
       KEY_SHIFT_RIGHT = 0x36, KEY_CAPS = 0x3a, KEY_SLASH = 0x35, KEY_ENTER = 0x1c,
       KEYS = 0x3a };

static const char plain[KEYS + 1] =
    "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[KEYS + 1] =
    "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

int keyboard_decode(struct keyboard *k, uint8_t code)
{
    bool extended = k->extended, down = !(code & KEY_RELEASED);
    uint8_t key = code & ~KEY_RELEASED;
    k->extended = code == KEY_EXTENDED;
    if (k->extended)
        return -1;
    if (key == KEY_CTRL)
        k->ctrl = down;
    if ((key == KEY_SHIFT_LEFT || key == KEY_SHIFT_RIGHT) && !extended)
        k->shift = down;                 /* E0 2A is no shift: the keyboard's own ghost */
    if (key == KEY_CAPS && down)
        k->caps = !k->caps;
    if (!down || key >= KEYS || (extended && key != KEY_SLASH && key != KEY_ENTER))
        return -1;
    char c = plain[key];
    bool letter = c >= 'a' && c <= 'z';
    if (k->shift != (letter && k->caps))
        c = shifted[key];
    if (k->ctrl && letter)
        return c & 0x1f;
    return c ? c : -1;
}

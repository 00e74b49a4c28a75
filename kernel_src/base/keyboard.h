/* keyboard.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The keyboard ---- */

/* base/keyboard.h: PS/2 scan codes (set 1) to characters, US layout.
 * Pure: codes in, characters out. ps2.c owns the controller.
 * twin: keyboard.c */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct keyboard { bool shift, ctrl, caps, extended; };

/* The character that `code` types, or -1: a release, a modifier, a key without a
 * character. */
int keyboard_decode(struct keyboard *k, uint8_t code);

/* console.h: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § The serial port ---- */

/* base/console.h: text out to COM1 and to the VGA screen, bytes in from COM1 and the
 * keyboard. Neither blocks: output waits in a queue that a POLL empties at the line's own
 * pace. Sources of input join the linker set console_input. */
#pragma once
#include "base/kernel.h"
#include <stddef.h>
#include <stdint.h>

void console_write(const char *s, size_t n);
void console_puts(const char *s);
void console_hex(uint32_t v);            /* 0x0010000c */
void console_dec(uint32_t v);            /* 1048588 */
int console_getc(void);                  /* a byte, or -1 when there is none */
void console_flush(void);                /* wait until the queue is on the wire */

typedef int (*console_input_fn)(void);   /* as console_getc */
#define CONSOLE_INPUT(fn) LINKER_SET(console_input, console_input_fn, input_##fn) = fn

#define COM1 0x3f8

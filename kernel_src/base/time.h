/* time.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § Time ---- */

/* base/time.h: how long since the kernel was entered, and what day it is.
 * The clock is the CPU's time stamp counter, measured once against the PIT; it never goes
 * back. Before INITCALL order 20 it stands at 0. */
#pragma once
#include <stdint.h>

#define TIME_TICK_HZ 100          /* timer interrupts a second: hlt never sleeps longer */

uint64_t time_us(void);
uint64_t time_ms(void);
int64_t time_unix(void);               /* seconds since 1970-01-01 00:00 UTC, leap-less */
void time_delay_us(uint32_t us);         /* spin: for devices that ask for a pause */
extern uint64_t time_tsc_hz;

/* ticks * scale / 2^32, where scale = 10^6 * 2^32 / hz; needs hz > 10^6. */
static inline uint64_t time_scale(uint64_t ticks, uint32_t scale)
{
    return (ticks >> 32) * scale + ((ticks & 0xffffffff) * scale >> 32);
}

/* rtc.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The date ---- */

/* base/rtc.h: the date and time of day as the CMOS clock (Motorola MC146818) keeps them.
 * Pure: registers in, seconds since 1970 out.
 * twin: rtc.c */
#pragma once
#include <stdint.h>

enum { RTC_24H = 0x02, RTC_BINARY = 0x04 };     /* status register B */
enum { RTC_PM = 0x80 };                         /* in `hour`, in 12-hour mode */

struct rtc { uint8_t second, minute, hour, day, month, year, status_b; };

/* Years 00..69 are 2000..2069, 70..99 are 1970..1999. -1 if no such moment exists. */
int64_t rtc_to_unix(struct rtc r);

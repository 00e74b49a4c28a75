/* rtc.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The date ---- */

/* base/rtc.c: see rtc.h. */
#include "base/rtc.h"
#include <stdbool.h>

static uint8_t binary(const struct rtc *r, uint8_t v)
{
    return r->status_b & RTC_BINARY ? v : (uint8_t)((v >> 4) * 10 + (v & 15));
}

/* Days from 1970-01-01. The year begins in March, so the leap day is its last. */
static int64_t days(int year, int month, int day)
{
    year -= month <= 2;
    int in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return 365ll * year + year / 4 - year / 100 + year / 400 + in_year - 719468;
}

int64_t rtc_to_unix(struct rtc r)
{
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool pm = !(r.status_b & RTC_24H) && r.hour & RTC_PM;
    int hour = binary(&r, r.status_b & RTC_24H ? r.hour : r.hour & ~RTC_PM);
    int minute = binary(&r, r.minute), second = binary(&r, r.second);
    int day = binary(&r, r.day), month = binary(&r, r.month), year = binary(&r, r.year);
    if (!(r.status_b & RTC_24H))
        hour = hour > 12 || hour == 0 ? 99 : hour % 12 + (pm ? 12 : 0);
    year += year < 70 ? 2000 : 1900;
    if (second > 59 || minute > 59 || hour > 23 || month < 1 || month > 12 || day < 1 ||
        day > month_days[month - 1])
        return -1;
    return ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
}

/* metrics.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § Metrics ---- */

/* metrics.c: see metrics.h. */
#include "base/decimal.h"
#include "base/stdio.h"
#include "base/string.h"
#include "api/metrics.h"

/* All digits; whole numbers without a point, because some readers look for \d+. */
static void number(char text[DTOA_SHORTEST_MAX], double v)
{
    if (v > -9e15 && v < 9e15 && v == (double)(long long)v)
        snprintf(text, DTOA_SHORTEST_MAX, "%lld", (long long)v);
    else
        dtoa_shortest(text, v);
}

bool metrics_write(char *buf, size_t cap, size_t *len, const char *type,
                   const struct metric *m, size_t n)
{
    char value[DTOA_SHORTEST_MAX];
    for (size_t i = 0; i < n; i++) {
        number(value, m[i].value);
        *len += (size_t)snprintf(buf + *len, cap - *len,
                                 "# HELP llamacpp:%s %s\n# TYPE llamacpp:%s %s\n"
                                 "llamacpp:%s %s\n",
                                 m[i].name, m[i].help, m[i].name, type, m[i].name, value);
        if (*len >= cap) {
            *len = cap;
            return false;
        }
    }
    return true;
}

/* metrics.h: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § Metrics ---- */

/* metrics.h: Prometheus' text format 0.0.4. Pure. Called by ops.c. */
// twin: metrics.c string.c stdio.c decimal.c
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct metric {
    const char *name, *help;            // help: no line break, no backslash
    double value;
};

/* Appends to buf, which holds *len of cap bytes. false: no room for all; buf is cut. */
bool metrics_write(char *buf, size_t cap, size_t *len, const char *type,
                   const struct metric *m, size_t n);

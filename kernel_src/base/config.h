/* config.h: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § Options ---- */

/* base/config.h: what the user asked for: key=value pairs.
 * They come from the Multiboot command line (config_boot.c), later also from a JSON
 * module. A file declares the keys it reads with CONFIG_KEY; a key that nobody declared
 * is reported together with the list of those that exist. '-' in a key counts as '_'.
 * Bounded, no allocation.
 * twin: config.c string.c stdlib.c decimal.c stdio.c */
#pragma once
#include "base/kernel.h"

#define CONFIG_ENTRIES_MAX 32
#define CONFIG_KEY_MAX 32              /* with the NUL */
#define CONFIG_VALUE_MAX 512

struct config_key { const char *name, *help; };

/* CONFIG_KEY(port, "TCP port to listen on"); at file scope. */
#define CONFIG_KEY(key, text) \
    LINKER_SET(config_key, struct config_key, config_key_##key) = {#key, text}

const char *config_get(const char *key);              /* NULL: not given */
bool config_int(const char *key, long *out);       /* false: not given, or no integer */
bool config_bool(const char *key, bool otherwise); /* 1 true yes on, or 0 false no off */
bool config_set(const char *key, const char *value);  /* false: refused, and said why */
void config_read(const char *line);                   /* key=value key="a value" ... */

enum config_word {
    CONFIG_END, CONFIG_PAIR, CONFIG_NO_PAIR, CONFIG_TOO_LONG, CONFIG_OPEN_QUOTE
};

enum config_word config_next(const char **line, char key[CONFIG_KEY_MAX],
                             char value[CONFIG_VALUE_MAX]);

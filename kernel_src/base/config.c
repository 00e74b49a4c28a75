/* config.c: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § Options ---- */

/* base/config.c: see config.h. The table is one slot per declared key that was given.
 * Values are copied in, so that a pointer from config_get stays good, and follows a later
 * config_set. */
#include "base/config.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"

static int config_key_char(int c) { return c == '-' ? '_' : c; }

/* Reads one word: key=value, where quotes of either kind protect blanks and are dropped.
 * A word without '=' is CONFIG_NO_PAIR, with the word in `value`. *line moves behind the
 * word. */
enum config_word config_next(const char **line, char key[CONFIG_KEY_MAX],
                             char value[CONFIG_VALUE_MAX])
{
    const char *p = *line;
    size_t n = 0;
    bool pair = false, long_word = false;
    char quote = 0;
    key[0] = value[0] = 0;
    while (isspace(*p))
        p++;
    if (!*p) {
        *line = p;
        return CONFIG_END;
    }
    for (; *p && (quote || !isspace(*p)); p++) {
        if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? 0 : *p;
        } else if (*p == '=' && !pair) {
            pair = true;
            long_word |= n >= CONFIG_KEY_MAX;
            for (size_t i = 0; i < n && i < CONFIG_KEY_MAX - 1; i++)
                key[i] = (char)config_key_char(value[i]);
            key[n < CONFIG_KEY_MAX ? n : CONFIG_KEY_MAX - 1] = 0;
            n = 0;
        } else if (n < CONFIG_VALUE_MAX - 1) {
            value[n++] = *p;
        } else {
            long_word = true;
        }
    }
    value[n] = 0;
    *line = p;
    return quote ? CONFIG_OPEN_QUOTE : long_word ? CONFIG_TOO_LONG
           : pair ? CONFIG_PAIR : CONFIG_NO_PAIR;
}

LINKER_SET_DECLARE(config_key, struct config_key);

struct config_entry { const struct config_key *key; char value[CONFIG_VALUE_MAX]; };

static struct config_entry entries[CONFIG_ENTRIES_MAX];
static int n_entries;

static bool config_same_key(const char *a, const char *b)
{
    while (*a && config_key_char(*a) == config_key_char(*b))
        a++, b++;
    return *a == *b;
}

static struct config_entry *config_find(const char *key)
{
    for (int i = 0; i < n_entries; i++)
        if (config_same_key(entries[i].key->name, key))
            return &entries[i];
    return NULL;
}

static const struct config_key *config_declared(const char *key)
{
    LINKER_SET_FOREACH(config_key, struct config_key, k)
        if (config_same_key(k->name, key))
            return k;
    return NULL;
}

/* The declared name that follows `after` in the alphabet; NULL: that was the last. */
static const char *config_name_after(const char *after)
{
    const char *best = NULL;
    LINKER_SET_FOREACH(config_key, struct config_key, k)
        if (strcmp(k->name, after) > 0 && (!best || strcmp(k->name, best) < 0))
            best = k->name;
    return best;
}

static bool config_refuse_unknown(const char *key)
{
    kprintf("[config] unknown key '%s' ignored; known keys:", key);
    for (const char *name = ""; (name = config_name_after(name));)
        kprintf(" %s", name);
    kprintf("\n");
    return false;
}

bool config_set(const char *key, const char *value)
{
    const struct config_key *known = config_declared(key);
    if (!known)
        return config_refuse_unknown(key);
    if (strlen(value) >= CONFIG_VALUE_MAX) {
        kprintf("[config] %s ignored: longer than %d bytes\n", key, CONFIG_VALUE_MAX - 1);
        return false;
    }
    struct config_entry *e = config_find(key);
    if (!e) {
        if (n_entries == CONFIG_ENTRIES_MAX) {
            kprintf("[config] %s ignored: %d keys are the most\n", key,
                    CONFIG_ENTRIES_MAX);
            return false;
        }
        e = &entries[n_entries++];
        e->key = known;
    }
    strlcpy(e->value, value, sizeof e->value);
    return true;
}

void config_read(const char *line)
{
    char key[CONFIG_KEY_MAX], value[CONFIG_VALUE_MAX];
    enum config_word word;
    for (bool first = true; (word = config_next(&line, key, value)) != CONFIG_END;
         first = false) {
        if (word == CONFIG_PAIR)
            config_set(key, value);
        else if (word == CONFIG_TOO_LONG)
            kprintf("[config] '%.40s...' ignored: too long\n", *key ? key : value);
        else if (word == CONFIG_OPEN_QUOTE)
            kprintf("[config] '%s' ignored: its quote is not closed\n",
                    *key ? key : value);
        else if (!first)                     /* the first may be the kernel's file name */
            kprintf("[config] '%.40s' ignored: not key=value\n", value);
    }
}

const char *config_get(const char *key)
{
    const struct config_entry *e = config_find(key);
    return e ? e->value : NULL;
}

static void config_complain(const char *key, const char *value, const char *what)
{
    kprintf("[config] %s='%.40s' is not %s: ignored\n", key, value, what);
}

bool config_int(const char *key, long *out)
{
    const char *value = config_get(key);
    char *end;
    if (!value)
        return false;
    long v = strtol(value, &end, 0);
    if (end == value || *end) {
        config_complain(key, value, "an integer");
        return false;
    }
    *out = v;
    return true;
}

bool config_bool(const char *key, bool otherwise)
{
    static const char WORDS[][6] = {"0", "false", "no", "off", "1", "true", "yes", "on"};
    const char *value = config_get(key);
    if (!value)
        return otherwise;
    for (int i = 0; i < 8; i++)
        if (strcasecmp(value, WORDS[i]) == 0)
            return i >= 4;
    config_complain(key, value, "a yes or no");
    return otherwise;
}

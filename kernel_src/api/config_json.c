/* config_json.c: tangled from nbs/api/17_json.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/17_json.ipynb § The first customer: the kernel's configuration ---- */

/* config_json.c - reads the boot module cllm.json into base/config.h.
 *
 * One member of the object is one key. The command line (read before) wins.
 * A file that is not JSON, or a value that has no one-line form, is reported
 * on the serial line and skipped. Runs once, before any layer reads its keys. */
#include "api/json.h"
#include "base/bootinfo.h"
#include "base/config.h"
#include "base/decimal.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/string.h"

#define CONFIG_JSON_NAME "cllm.json"

/* "/boot/cllm.json some arguments": is the file's name ours? */
bool config_json_is_ours(const char *cmdline)
{
    const char *name = cmdline, *s = cmdline;
    for (; *s && !isspace((uint8_t)*s); s++)
        if (*s == '/')
            name = s + 1;
    size_t len = sizeof CONFIG_JSON_NAME - 1;
    return (size_t)(s - name) == len && !memcmp(name, CONFIG_JSON_NAME, len);
}

/* A value on one line; false if it has none, or not within CONFIG_VALUE_MAX. */
static bool config_json_scalar(const struct json_node *n, char out[CONFIG_VALUE_MAX])
{
    switch (n->type) {
    case JSON_BOOL:
        strlcpy(out, n->boolean ? "1" : "0", CONFIG_VALUE_MAX);
        return true;
    case JSON_NUMBER:
        if (n->is_int)
            snprintf(out, CONFIG_VALUE_MAX, "%lld", (long long)n->i);
        else
            dtoa_shortest(out, n->num);
        return true;
    case JSON_STRING:
        return strlcpy(out, n->str, CONFIG_VALUE_MAX) == n->len
            && n->len < CONFIG_VALUE_MAX;
    default:
        return false;
    }
}

bool config_json_text(const struct json_node *n, char out[CONFIG_VALUE_MAX])
{
    char item[CONFIG_VALUE_MAX];
    if (n->type != JSON_ARRAY)
        return config_json_scalar(n, out);
    out[0] = 0;
    for (const struct json_node *i = json_first(n); i; i = json_next(n, i)) {
        size_t at = strlen(out);
        if (!config_json_scalar(i, item) || strlen(item) + 2 > CONFIG_VALUE_MAX - at)
            return false;
        snprintf(out + at, CONFIG_VALUE_MAX - at, "%s%s", at ? "," : "", item);
    }
    return true;
}

void config_json_read(const char *text, size_t len)
{
    static struct json_doc doc;
    static char value[CONFIG_VALUE_MAX];
    if (json_parse(&doc, text, len) != JSON_OK) {
        kprintf("[config] %s: %s\n", CONFIG_JSON_NAME, doc.error);
        return;
    }
    if (doc.root->type != JSON_OBJECT)
        kprintf("[config] %s: the file must be one object\n", CONFIG_JSON_NAME);
    else
        kprintf("[config] %s: %u keys\n", CONFIG_JSON_NAME,
                (unsigned)json_count(doc.root));
    const struct json_node *k = NULL;
    if (json_is(doc.root, JSON_OBJECT))
        k = json_first(doc.root);
    for (; k; k = json_next(doc.root, k)) {
        const struct json_node *v = json_value(k);
        if (v->type == JSON_NULL || v != json_get(doc.root, k->str))
            continue;                           /* absent, or said again later */
        if (config_get(k->str))
            kprintf("[config] %s: %s: the command line's value stays\n",
                    CONFIG_JSON_NAME, k->str);
        else if (!config_json_text(v, value))
            kprintf("[config] %s: %s: needs a string, number, boolean or a list of "
                    "these, below %d bytes\n",
                    CONFIG_JSON_NAME, k->str, CONFIG_VALUE_MAX);
        else if (config_set(k->str, value))
            kprintf("[config] %s: %s set\n", CONFIG_JSON_NAME, k->str);
    }
    json_free(&doc);
}

static void config_json_init(void)
{
    for (int i = 0; i < boot_info.n_modules; i++) {
        const struct boot_module *m = &boot_info.modules[i];
        if (m->cmdline && config_json_is_ours(m->cmdline))
            config_json_read((const char *)m->data, m->size);
    }
}
INITCALL(35, config_json_init);

/* stream.c: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § Text that may be sent ---- */

/* stream.c: see stream.h. Stop strings are searched only in what is not yet sent. */
#include "base/memory.h"
#include "base/string.h"
#include "llm/stream.h"

size_t utf8_complete(const char *s, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        uint8_t c = (uint8_t)s[len - back];
        if ((c & 0xC0) == 0x80)
            continue;
        size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return need > back ? len - back : len;
    }
    return len;
}

/* Offset of the first stop string in what is not sent, or s->len. */
static size_t find_stop(const struct text_stream *s, const char *const *stop, int n_stop,
                        int *word)
{
    size_t best = s->len;
    for (int i = 0; i < n_stop; i++) {
        size_t n = strlen(stop[i]), at = s->sent;
        if (s->searched >= at + n)
            at = s->searched - n + 1;
        for (; n && at < best && n <= s->len - at; at++)
            if (memcmp(s->text + at, stop[i], n) == 0) {
                best = at;
                *word = i;
            }
    }
    return best;
}

/* Does the text end in a proper beginning of a stop string? */
static bool ends_in_partial(const char *s, size_t len, size_t from,
                            const char *const *stop, int n_stop)
{
    for (int i = 0; i < n_stop; i++) {
        size_t n = strlen(stop[i]);
        for (size_t k = 1; k < n && k <= len - from; k++)
            if (memcmp(s + len - k, stop[i], k) == 0)
                return true;
    }
    return false;
}

static bool append(struct text_stream *s, const char *piece, size_t len)
{
    if (len > s->cap - s->len) {
        size_t cap = s->cap ? s->cap : 64;
        while (len > cap - s->len) {
            if (cap > SIZE_MAX / 2)
                return false;
            cap *= 2;
        }
        char *p = krealloc(s->text, cap);
        if (!p)
            return false;
        s->text = p;
        s->cap = cap;
    }
    if (len)
        memcpy(s->text + s->len, piece, len);
    s->len += len;
    return true;
}

enum text_result text_stream_add(struct text_stream *s, const char *piece, size_t len,
                                 const char *const *stop, int n_stop, const char **out,
                                 size_t *out_len, int *word)
{
    *out = "";
    *out_len = 0;
    if (!append(s, piece, len))
        return TEXT_NO_MEMORY;
    if (utf8_complete(s->text, s->len) < s->len)
        return TEXT_MORE;

    size_t end = find_stop(s, stop, n_stop, word);
    bool stopped = end < s->len;
    s->searched = s->len;
    if (!stopped && ends_in_partial(s->text, s->len, s->sent, stop, n_stop))
        return TEXT_MORE;
    s->len = end;
    text_stream_flush(s, out, out_len);
    return stopped ? TEXT_STOPPED : TEXT_MORE;
}

void text_stream_flush(struct text_stream *s, const char **out, size_t *out_len)
{
    *out = s->text ? s->text + s->sent : "";
    *out_len = s->len - s->sent;
    s->sent = s->len;
}

void text_stream_free(struct text_stream *s)
{
    kfree(s->text);
    *s = (struct text_stream){0};
}

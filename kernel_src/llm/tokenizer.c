/* tokenizer.c: tangled from nbs/llm/14_tokenizer.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/14_tokenizer.ipynb § Finding a piece ---- */

/* tokenizer.c: see tokenizer.h. Order of work: load and index the vocabulary; cut the
 * text at special tokens; merge the rest pair by pair, best score first; spell what is
 * left in bytes. */
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "llm/tokenizer.h"

static uint32_t hash_of(const char *s, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h;
}

llama_token llama_vocab_find(const struct llama_vocab *v, const char *text, size_t len)
{
    for (uint32_t i = hash_of(text, len) & (v->n_hash - 1); v->hash[i] >= 0;
         i = (i + 1) & (v->n_hash - 1)) {
        const struct llama_vocab_token *t = &v->token[v->hash[i]];
        if (t->len == len && memcmp(t->text, text, len) == 0)
            return v->hash[i];
    }
    return LLAMA_TOKEN_NULL;
}

static bool index_tokens(struct llama_vocab *v, struct arena *a)
{
    v->n_hash = 16;
    while (v->n_hash < 2u * (uint32_t)v->n_tokens)
        v->n_hash *= 2;
    v->hash = arena_alloc(a, v->n_hash * sizeof *v->hash, 16);
    if (!v->hash)
        return false;
    memset(v->hash, 0xFF, v->n_hash * sizeof *v->hash);
    for (int32_t id = 0; id < v->n_tokens; id++) {
        const struct llama_vocab_token *t = &v->token[id];
        if (llama_vocab_find(v, t->text, t->len) != LLAMA_TOKEN_NULL)
            continue;
        uint32_t i = hash_of(t->text, t->len) & (v->n_hash - 1);
        while (v->hash[i] >= 0)
            i = (i + 1) & (v->n_hash - 1);
        v->hash[i] = id;
    }
    return true;
}

/* ---- nbs/llm/14_tokenizer.ipynb § Loading ---- */

static llama_token special_id(const struct gguf *g, const char *key,
                              llama_token otherwise, int32_t n)
{
    int64_t id;
    if (!gguf_i64(g, key, &id))
        return otherwise < n ? otherwise : LLAMA_TOKEN_NULL;
    return id >= 0 && id < n ? (llama_token)id : LLAMA_TOKEN_NULL;
}

/* Tokens that end a text, by their names (llama_vocab::impl::load). The first of the
 * upper group that a file has ends a turn as well. */
static void mark_ends(struct llama_vocab *v)
{
    static const char *const names[] = {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>",
        "_<EOT>", "<|end_of_text|>", "<end_of_utterance>",
        "</s>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<|eom_id|>", "[EOT]",
        "[EOS]", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["
    };
    enum { TURN_ENDS = 9, S_END = 9, TOOL_RESPONSE = 19 };
    bool has[sizeof names / sizeof names[0]] = { false };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        llama_token t = llama_vocab_find(v, names[i], strlen(names[i]));
        if (t == LLAMA_TOKEN_NULL)
            continue;
        has[i] = v->token[t].eog = true;
        if (v->eot == LLAMA_TOKEN_NULL && i < TURN_ENDS)
            v->eot = t;
    }
    if (has[TOOL_RESPONSE] && has[S_END])    // Gemma 4: </s> is a word like any other
        v->token[llama_vocab_find(v, names[S_END], 4)].eog = false;
    if (v->eos >= 0)
        v->token[v->eos].eog = true;
    if (v->eot >= 0)
        v->token[v->eot].eog = true;
}

/* Control, unknown and user-defined tokens, longest first: they are cut out of the text
 * before the rest is merged. */
static void collect_special(struct llama_vocab *v)
{
    for (int32_t id = 0; id < v->n_tokens && v->n_special < LLAMA_SPECIAL_MAX; id++) {
        uint8_t type = v->token[id].type;
        if (!v->token[id].len ||
            (type != LLAMA_TOKEN_TYPE_CONTROL && type != LLAMA_TOKEN_TYPE_USER_DEFINED &&
             type != LLAMA_TOKEN_TYPE_UNKNOWN))
            continue;
        int32_t at = v->n_special++;
        for (; at > 0 && v->token[v->special[at - 1]].len < v->token[id].len; at--)
            v->special[at] = v->special[at - 1];
        v->special[at] = id;
    }
}

static bool read_tokens(struct llama_vocab *v, const struct gguf *g, struct arena *a,
                        char *err, size_t err_cap)
{
    struct gguf_array text, score, type;
    if (!gguf_arr(g, "tokenizer.ggml.tokens", &text) || text.type != GGUF_TYPE_STRING ||
        text.n == 0 || text.n > (1u << 24)) {
        snprintf(err, err_cap,
                 "tokenizer.ggml.tokens is missing or not a list of strings");
        return false;
    }
    bool has_score = gguf_arr(g, "tokenizer.ggml.scores", &score),
         has_type = gguf_arr(g, "tokenizer.ggml.token_type", &type);
    if ((has_score && score.n != text.n) || (has_type && type.n != text.n)) {
        snprintf(
            err, err_cap,
            "tokenizer.ggml.scores or token_type does not have one entry for each token");
        return false;
    }
    v->n_tokens = (int32_t)text.n;
    v->token = arena_alloc(a, (size_t)v->n_tokens * sizeof *v->token, 16);
    for (int32_t i = 0; v->token && i < v->n_tokens; i++) {
        struct llama_vocab_token *t = &v->token[i];
        int64_t ty = LLAMA_TOKEN_TYPE_NORMAL;
        size_t len = 0;
        *t = (struct llama_vocab_token){0};
        gguf_arr_next_str(&text, &t->text, &len);
        if (len > LLAMA_TOKEN_BYTES_MAX) {
            snprintf(err, err_cap, "token %d has %zu bytes; at most %d are supported",
                     (int)i, len, LLAMA_TOKEN_BYTES_MAX);
            return false;
        }
        t->len = (uint32_t)len;
        if (has_score)
            gguf_arr_f32(&score, (uint64_t)i, &t->score);
        if (has_type)
            gguf_arr_i64(&type, (uint64_t)i, &ty);
        t->type = ty >= 0 && ty <= LLAMA_TOKEN_TYPE_BYTE ? (uint8_t)ty
                                                         : LLAMA_TOKEN_TYPE_NORMAL;
    }
    if (!v->token || !index_tokens(v, a)) {
        snprintf(err, err_cap, "no memory for a vocabulary of %d tokens",
                 (int)v->n_tokens);
        return false;
    }
    return true;
}

bool llama_vocab_load(struct llama_vocab *v, const struct gguf *g, struct arena *a,
                      char *err, size_t err_cap)
{
    memset(v, 0, sizeof *v);
    const char *model = "";
    size_t len = 0;
    if (!gguf_str(g, "tokenizer.ggml.model", &model, &len) ||
        !gguf_str_is(g, "tokenizer.ggml.model", "llama")) {
        snprintf(err, err_cap,
                 "tokenizer.ggml.model is \"%.*s\"; only \"llama\" (SentencePiece) is "
                 "supported",
                 (int)(len < 32 ? len : 32), model);
        return false;
    }
    if (!read_tokens(v, g, a, err, err_cap))
        return false;
    v->type = LLAMA_VOCAB_TYPE_SPM;
    v->bos = special_id(g, "tokenizer.ggml.bos_token_id", 1, v->n_tokens);
    v->eos = special_id(g, "tokenizer.ggml.eos_token_id", 2, v->n_tokens);
    v->unk = special_id(g, "tokenizer.ggml.unknown_token_id", 0, v->n_tokens);
    v->eot = special_id(g, "tokenizer.ggml.eot_token_id", LLAMA_TOKEN_NULL, v->n_tokens);
    v->add_bos = v->add_space_prefix = true;
    gguf_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos);
    gguf_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos);
    gguf_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        v->byte_token[i] = llama_vocab_find(v, name, 6);
        if (v->byte_token[i] == LLAMA_TOKEN_NULL)
            v->byte_token[i] = llama_vocab_find(v, &(char){ (char)i }, 1);
    }
    mark_ends(v);
    collect_special(v);
    return true;
}

const char *llama_vocab_get_text(const struct llama_vocab *v, llama_token id, size_t *len)
{
    *len = v->token[id].len;
    return v->token[id].text;
}

bool llama_vocab_is_eog(const struct llama_vocab *v, llama_token id)
{
    return id >= 0 && id < v->n_tokens && v->token[id].eog;
}

bool llama_vocab_is_control(const struct llama_vocab *v, llama_token id)
{
    return id >= 0 && id < v->n_tokens && v->token[id].type == LLAMA_TOKEN_TYPE_CONTROL;
}

/* ---- nbs/llm/14_tokenizer.ipynb § Merging ---- */

/* One character, or what characters have merged into. len 0: swallowed by its left
 * neighbour. */
struct symbol { int32_t prev, next; uint32_t at, len; };
/* A candidate: symbols `left` and `right` would make a piece of `len` bytes. */
struct bigram { int32_t left, right; float score; uint32_t len; };

struct spm {
    const struct llama_vocab *v;
    const char *text;
    struct symbol *sym;
    struct bigram *queue;         // a binary heap, best on top
    int32_t n_sym, n_queue;
};

static bool before(const struct bigram *a, const struct bigram *b)
{
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static void queue_push(struct spm *s, struct bigram b)
{
    int32_t i = s->n_queue++;
    for (; i > 0 && before(&b, &s->queue[(i - 1) / 2]); i = (i - 1) / 2)
        s->queue[i] = s->queue[(i - 1) / 2];
    s->queue[i] = b;
}

static struct bigram queue_pop(struct spm *s)
{
    struct bigram top = s->queue[0], b = s->queue[--s->n_queue];
    int32_t i = 0;
    for (int32_t k; (k = 2 * i + 1) < s->n_queue; i = k) {
        if (k + 1 < s->n_queue && before(&s->queue[k + 1], &s->queue[k]))
            k++;
        if (!before(&s->queue[k], &b))
            break;
        s->queue[i] = s->queue[k];
    }
    s->queue[i] = b;
    return top;
}

static void try_pair(struct spm *s, int32_t left, int32_t right)
{
    if (left < 0 || right < 0)
        return;
    uint32_t len = s->sym[left].len + s->sym[right].len;
    llama_token t = llama_vocab_find(s->v, s->text + s->sym[left].at, len);
    if (t != LLAMA_TOKEN_NULL)
        queue_push(s, (struct bigram){ left, right, s->v->token[t].score, len });
}

static void merge_all(struct spm *s)
{
    for (int32_t i = 1; i < s->n_sym; i++)
        try_pair(s, i - 1, i);
    while (s->n_queue) {
        struct bigram b = queue_pop(s);
        struct symbol *l = &s->sym[b.left], *r = &s->sym[b.right];
        if (!l->len || !r->len || l->len + r->len != b.len)
            continue; // one of them has merged meanwhile
        l->len += r->len;
        r->len = 0;
        l->next = r->next;
        if (r->next >= 0)
            s->sym[r->next].prev = b.left;
        try_pair(s, l->prev, b.left);
        try_pair(s, b.left, l->next);
    }
}

struct sink { llama_token *out; int32_t n, n_max; };

static void emit(struct sink *o, llama_token t)
{
    if (o->n < o->n_max)
        o->out[o->n] = t;
    o->n++;
}

static void emit_symbol(const struct spm *s, const struct symbol *y, struct sink *o)
{
    llama_token t = llama_vocab_find(s->v, s->text + y->at, y->len);
    if (t != LLAMA_TOKEN_NULL) {
        emit(o, t);
        return;
    }
    for (uint32_t i = 0; i < y->len; i++) {
        t = s->v->byte_token[(uint8_t)s->text[y->at + i]];
        emit(o, t != LLAMA_TOKEN_NULL ? t : s->v->unk);
    }
}

static uint32_t char_len(uint8_t lead)
{
    return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Tokens of a text in which spaces are already written as U+2581. false: no memory. */
static bool spm_tokenize(const struct llama_vocab *v, const char *text, uint32_t len,
                         struct sink *o)
{
    struct spm s = { .v = v, .text = text };
    size_t n_chars = 0;
    for (uint32_t at = 0; at < len; at += char_len((uint8_t)text[at]))
        n_chars++;
    s.sym = kmalloc(n_chars * sizeof *s.sym);
    s.queue = kmalloc(
        2 * n_chars *
        sizeof *s.queue); // one for each pair; a merge takes one off and offers two
    if (!s.sym || !s.queue) {
        kfree(s.sym);
        kfree(s.queue);
        return false;
    }
    for (uint32_t at = 0; at < len; s.n_sym++) {
        uint32_t n = char_len((uint8_t)text[at]);
        n = n < len - at ? n : len - at;
        s.sym[s.n_sym] =
            (struct symbol){ s.n_sym - 1, at + n < len ? s.n_sym + 1 : -1, at, n };
        at += n;
    }
    merge_all(&s);
    for (int32_t i = len ? 0 : -1; i >= 0; i = s.sym[i].next)
        emit_symbol(&s, &s.sym[i], o);
    kfree(s.sym);
    kfree(s.queue);
    return true;
}

#define SPECIAL_INSIDE 0xFFFF

/* Marks the special tokens in text[0, len), longest first: mark[i] is 1 + the place in
 * v->special of the one that begins at byte i, SPECIAL_INSIDE in its further bytes, 0 in
 * plain text. */
static void mark_special(const struct llama_vocab *v, const char *text, int32_t len,
                         bool parse_special, uint16_t *mark)
{
    bool seen[256] = { false };
    memset(mark, 0, (size_t)len * sizeof *mark);
    for (int32_t i = 0; i < len; i++)
        seen[(uint8_t)text[i]] = true;
    for (int32_t k = 0; k < v->n_special; k++) {
        const struct llama_vocab_token *t = &v->token[v->special[k]];
        int32_t n = (int32_t)t->len;
        char first = t->text[0], last = t->text[n - 1];
        if ((!parse_special && t->type != LLAMA_TOKEN_TYPE_USER_DEFINED) ||
            !seen[(uint8_t)first] || !seen[(uint8_t)last])
            continue;
        for (int32_t at = 0; n <= len - at; at++) {
            if (text[at] != first || text[at + n - 1] != last || mark[at] ||
                mark[at + n - 1] || memcmp(text + at, t->text, (size_t)n) != 0)
                continue; // what is marked is at least as long: looking at both ends is
                          // enough
            for (int32_t i = 1; i < n; i++)
                mark[at + i] = SPECIAL_INSIDE;
            mark[at] = (uint16_t)(k + 1);
            at += n - 1;
        }
    }
}

/* Escapes text[0, len) into buf, with a leading U+2581 if `prefix`; the length. buf has
 * room for 3 * (len + 1). */
static uint32_t escape(const char *text, int32_t len, bool prefix, char *buf)
{
    uint32_t n = 0;
    for (int32_t i = prefix ? -1 : 0; i < len; i++)
        if (i < 0 || text[i] == ' ') {
            memcpy(buf + n, "\xE2\x96\x81", 3);
            n += 3;
        } else {
            buf[n++] = text[i];
        }
    return n;
}

int32_t llama_tokenize(const struct llama_vocab *v, const char *text, int32_t len,
                       llama_token *tokens, int32_t n_max, bool add_special,
                       bool parse_special)
{
    if (len < 0 || len > LLAMA_TOKENIZE_MAX)
        return LLAMA_TOKENIZE_FAILED;
    uint16_t *mark = kmalloc((sizeof *mark + 3) * ((size_t)len + 1));
    if (!mark)
        return LLAMA_TOKENIZE_FAILED;
    char *buf = (char *)(mark + len + 1);
    struct sink o = { tokens, 0, tokens ? n_max : 0 };
    bool after_special = true, ok = true;
    mark_special(v, text, len, parse_special, mark);
    if (add_special && v->add_bos && v->bos >= 0)
        emit(&o, v->bos);
    for (int32_t at = 0, end; ok && at < len; at = end) {
        for (end = at; end < len && !mark[end]; end++)
            ;
        if (end > at) {
            uint32_t n =
                escape(text + at, end - at, v->add_space_prefix && after_special, buf);
            ok = spm_tokenize(v, buf, n, &o);
        } else {
            llama_token special = v->special[mark[at] - 1];
            emit(&o, special);
            end = at + (int32_t)v->token[special].len;
        }
        after_special = mark[at] != 0;
    }
    if (add_special && v->add_eos && v->eos >= 0)
        emit(&o, v->eos);
    kfree(mark);
    return !ok ? LLAMA_TOKENIZE_FAILED : o.n > n_max ? -o.n : o.n;
}

/* ---- nbs/llm/14_tokenizer.ipynb § Back to text ---- */

/* Writes one byte if there is room; counts it always. */
struct bytes { char *buf; int32_t n, cap, skip; };      // skip: spaces still to leave out

static void put_byte(struct bytes *o, char c)
{
    if (o->skip > 0 && c == ' ') {
        o->skip--;
        return;
    }
    o->skip = 0;
    if (o->n < o->cap)
        o->buf[o->n] = c;
    o->n += o->n < INT32_MAX;          // however many tokens: it never turns negative
}

static void put_piece(const struct llama_vocab *v, llama_token id, struct bytes *o,
                      bool special)
{
    const struct llama_vocab_token *t = &v->token[id];
    switch (t->type) {
    case LLAMA_TOKEN_TYPE_BYTE: {
        unsigned b = 0;
        for (uint32_t i = 3; i < 5 && t->len == 6; i++)
            b = b * 16 + (unsigned)(t->text[i] <= '9' ? t->text[i] - '0'
                                                      : (t->text[i] | 32) - 'a' + 10);
        put_byte(o, (char)b);
        return;
    }
    case LLAMA_TOKEN_TYPE_CONTROL:
    case LLAMA_TOKEN_TYPE_UNKNOWN:
        if (!special)
            return;
        /* fall through */
    case LLAMA_TOKEN_TYPE_USER_DEFINED:
        for (uint32_t i = 0; i < t->len; i++)
            put_byte(o, t->text[i]);
        return;
    default:
        for (uint32_t i = 0; i < t->len; i++)
            if (t->len - i >= 3 && memcmp(t->text + i, "\xE2\x96\x81", 3) == 0) {
                put_byte(o, ' ');
                i += 2;
            } else {
                put_byte(o, t->text[i]);
            }
    }
}

int32_t llama_token_to_piece(const struct llama_vocab *v, llama_token id, char *buf,
                             int32_t cap, int32_t lstrip, bool special)
{
    struct bytes o = { buf, 0, cap, lstrip };
    if (id < 0 || id >= v->n_tokens)
        return 0;
    put_piece(v, id, &o, special);
    return o.n > cap ? -o.n : o.n;
}

int32_t llama_detokenize(const struct llama_vocab *v, const llama_token *tokens,
                         int32_t n, char *buf, int32_t cap, bool remove_special,
                         bool unparse_special)
{
    struct bytes o = { buf, 0, cap, 0 };
    bool strip = v->add_space_prefix;
    for (int32_t i = 0; i < n; i++) {
        if (remove_special && ((i == 0 && v->add_bos && tokens[i] == v->bos) ||
                               (i == n - 1 && v->add_eos && tokens[i] == v->eos))) {
            strip = strip && i != 0;
            continue;
        }
        if (tokens[i] < 0 || tokens[i] >= v->n_tokens)
            continue;
        o.skip = strip;
        put_piece(v, tokens[i], &o, unparse_special);
        strip = false;
    }
    return o.n > cap ? -o.n : o.n;
}

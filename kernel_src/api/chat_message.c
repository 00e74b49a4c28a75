/* chat_message.c: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § What the model said ---- */

/* chat_message.c: see chat_message.h. */
#include "api/chat_message.h"
#include "base/memory.h"
#include "base/string.h"

bool chat_text_add(struct chat_text *t, const char *s, size_t len)
{
    if (len + 1 > t->cap - t->len) {
        size_t cap = t->cap ? t->cap : 32;
        while (len + 1 > cap - t->len) {
            if (cap > SIZE_MAX / 2)
                return false;
            cap *= 2;
        }
        char *p = krealloc(t->s, cap);
        if (!p)
            return false;
        t->s = p;
        t->cap = cap;
    }
    if (len)
        memcpy(t->s + t->len, s, len);
    t->len += len;
    t->s[t->len] = 0;
    return true;
}

bool chat_text_put(struct chat_text *t, const char *s)
{
    return chat_text_add(t, s, strlen(s));
}

void chat_text_free(struct chat_text *t)
{
    kfree(t->s);
    *t = (struct chat_text){ 0 };
}

enum json_state {
    J_VALUE, J_VALUE_OR_END, J_KEY, J_KEY_OR_END, J_COLON, J_NEXT,
    J_STRING, J_ESCAPE, J_UNICODE, J_WORD, J_DONE, J_BAD,
};
enum json_role {                     // what a value is to us
    ROLE_OTHER, ROLE_ROOT, ROLE_LIST, ROLE_CALL, ROLE_FUNCTION,
    ROLE_NAME, ROLE_ID, ROLE_ARGUMENTS, ROLE_RESPONSE,
};
enum json_target { TO_NOWHERE, TO_NAME, TO_ID, TO_ARGUMENTS, TO_CONTENT, TO_KEY };

static void put(struct chat_message *m, uint8_t target, const char *s, size_t len)
{
    struct chat_call *c = m->n_started ? &m->call[m->n_started - 1] : NULL;
    struct chat_json *j = &m->json;
    struct chat_text *t = target == TO_NAME        ? &c->name
                          : target == TO_ID        ? &c->id
                          : target == TO_ARGUMENTS ? &c->arguments
                          : target == TO_CONTENT   ? &m->content
                                                   : NULL;
    for (size_t i = 0; i < len && target == TO_KEY; i++)
        if (j->key_len < sizeof j->key)            // a longer key is none of ours
            j->key[j->key_len++] = s[i];
    if (t && !chat_text_add(t, s, len))
        m->failed = true;
}

static bool key_is(const struct chat_json *j, const char *key)
{
    return j->key_len == strlen(key) && memcmp(j->key, key, j->key_len) == 0;
}

/* Of the value that begins now, by what it stands in. */
static enum json_role value_role(const struct chat_message *m)
{
    const struct chat_json *j = &m->json;
    bool generic = m->format == CHAT_FORMAT_GENERIC;
    if (j->depth == 0)
        return generic ? ROLE_ROOT
               : m->format == CHAT_FORMAT_LLAMA_3 ? ROLE_CALL
                                                  : ROLE_LIST;
    switch (j->role[j->depth - 1]) {
    case ROLE_LIST: return ROLE_CALL;
    case ROLE_ROOT:
        return key_is(j, "tool_call") || key_is(j, "tool_calls") ? ROLE_LIST
               : key_is(j, "response")                           ? ROLE_RESPONSE
                                                                 : ROLE_OTHER;
    case ROLE_CALL:
    case ROLE_FUNCTION:
        return key_is(j, "name")       ? ROLE_NAME
               : key_is(j, "id")       ? ROLE_ID
               : key_is(j, "function") ? ROLE_FUNCTION
               : key_is(j, "arguments") || key_is(j, "parameters") ? ROLE_ARGUMENTS
                                                                   : ROLE_OTHER;
    default: return ROLE_OTHER;
    }
}

static bool call_begins(struct chat_message *m)
{
    if (m->n_started == CHAT_CALLS_MAX)
        return false;
    if (!m->call && !(m->call = kcalloc(CHAT_CALLS_MAX, sizeof *m->call))) {
        m->failed = true;
        return false;
    }
    m->n_started++;
    m->has_arguments = false;
    return true;
}

/* The last call may be shown: nothing can turn it into text any more. */
static void call_is_certain(struct chat_message *m) { m->n_calls = m->n_started; }

static void call_dropped(struct chat_message *m)
{
    if (m->n_started == m->n_calls)
        return;
    struct chat_call *c = &m->call[--m->n_started];
    chat_text_free(&c->id);
    chat_text_free(&c->name);
    chat_text_free(&c->arguments);
}

static void call_has_arguments(struct chat_message *m)
{
    m->has_arguments = true;
    if (m->call[m->n_started - 1].name.len)
        call_is_certain(m);
}

/* false: an object that is no call. */
static bool call_ends(struct chat_message *m)
{
    struct chat_call *c = &m->call[m->n_started - 1];
    if (m->n_started == m->n_calls)
        return true;
    if (!c->name.len || m->format == CHAT_FORMAT_LLAMA_3)
        return false;
    if (!chat_text_put(&c->arguments, "{}"))
        m->failed = true;
    call_is_certain(m);
    return true;
}

static void json_bad(struct chat_message *m) { m->json.state = J_BAD; }

static void value_ended(struct chat_message *m)
{
    struct chat_json *j = &m->json;
    if (j->raw && j->depth == j->raw_depth)
        j->raw = TO_NOWHERE;
    j->state = j->depth ? J_NEXT : J_DONE;
}

static void container_begins(struct chat_message *m, enum json_role role, char c)
{
    struct chat_json *j = &m->json;
    if (role == ROLE_LIST && c == '{')
        role = ROLE_CALL;                          // one call where a list could be
    bool wants_object = role == ROLE_CALL || role == ROLE_FUNCTION || role == ROLE_ROOT;
    if (j->depth == CHAT_CALL_DEPTH_MAX || (wants_object && c == '[') ||
        (role == ROLE_CALL && !call_begins(m))) {
        json_bad(m);
        return;
    }
    j->role[j->depth] = (uint8_t)role;
    j->closer[j->depth++] = c == '{' ? '}' : ']';
    j->state = c == '{' ? J_KEY_OR_END : J_VALUE_OR_END;
}

static void container_ends(struct chat_message *m)
{
    struct chat_json *j = &m->json;
    if (j->role[--j->depth] == ROLE_CALL && !call_ends(m))
        json_bad(m);
    else
        value_ended(m);
}

static bool word_byte(char c)
{
    return isalnum((uint8_t)c) || c == '-' || c == '+' || c == '.';
}

static void value_begins(struct chat_message *m, char c)
{
    struct chat_json *j = &m->json;
    enum json_role role = value_role(m);
    uint8_t target = role == ROLE_ARGUMENTS  ? TO_ARGUMENTS
                     : role == ROLE_RESPONSE ? TO_CONTENT
                                             : TO_NOWHERE;
    if (role == ROLE_ARGUMENTS)
        call_has_arguments(m);
    if (role == ROLE_RESPONSE)
        m->responding = true;
    if (c == '"') {
        j->target = role == ROLE_NAME ? TO_NAME : role == ROLE_ID ? TO_ID : target;
        j->state = J_STRING;
        return;
    }
    if (target) {                                  // taken over byte by byte
        j->raw = target;
        j->raw_depth = j->depth;
    }
    if (c == '{' || c == '[')
        container_begins(m, role, c);
    else if (word_byte(c) && j->depth)
        j->state = J_WORD;
    else
        json_bad(m);
}

static void put_code(struct chat_message *m, uint32_t c)
{
    char s[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = n; i-- > 1; c >>= 6)
        s[i] = (char)(0x80 | (c & 0x3F));
    s[0] = (char)(lead[n] | c);
    put(m, m->json.target, s, n);
}

/* A surrogate without its partner becomes U+FFFD, as everywhere else. */
static void put_unit(struct chat_message *m, uint16_t unit)
{
    struct chat_json *j = &m->json;
    bool low = unit >= 0xDC00 && unit < 0xE000, high = unit >= 0xD800 && unit < 0xDC00;
    if (j->high && low) {
        put_code(m, 0x10000 + ((uint32_t)(j->high - 0xD800) << 10) + (unit - 0xDC00u));
        j->high = 0;
        return;
    }
    if (j->high)
        put_code(m, 0xFFFD);
    j->high = high ? unit : 0;
    if (!high)
        put_code(m, low ? 0xFFFD : unit);
}

static void string_ended(struct chat_message *m)
{
    struct chat_json *j = &m->json;
    uint8_t target = j->target;
    j->target = TO_NOWHERE;
    if (target == TO_KEY) {
        j->state = J_COLON;
        return;
    }
    if (target == TO_NAME && !m->call[m->n_started - 1].name.len)
        json_bad(m);
    else
        value_ended(m);
    if (target == TO_NAME && m->has_arguments && j->state != J_BAD)
        call_is_certain(m);
}

static void string_byte(struct chat_message *m, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    struct chat_json *j = &m->json;
    const char *e;
    if (j->state == J_UNICODE) {
        int d = isdigit((uint8_t)c) ? c - '0' : tolower((uint8_t)c) - 'a' + 10;
        j->code = (uint16_t)(j->code << 4 | d);
        if (!isxdigit((uint8_t)c)) {
            json_bad(m);
        } else if (++j->n_hex == 4) {
            j->state = J_STRING;
            put_unit(m, j->code);
        }
        return;
    }
    if (j->state == J_ESCAPE && c == 'u') {
        j->state = J_UNICODE;
        j->n_hex = 0;
        j->code = 0;
        return;
    }
    if (j->high && !(j->state == J_STRING && c == '\\')) {
        put_code(m, 0xFFFD);
        j->high = 0;
    }
    if (j->state == J_ESCAPE) {
        if (!c || !(e = strchr(from, c))) {
            json_bad(m);
            return;
        }
        put(m, j->target, &to[e - from], 1);
        j->state = J_STRING;
    } else if (c == '"') {
        string_ended(m);
    } else if (c == '\\') {
        j->state = J_ESCAPE;
    } else if ((uint8_t)c < 0x20) {
        json_bad(m);
    } else {
        put(m, j->target, &c, 1);
    }
}

static void json_step(struct chat_message *m, char c)
{
    struct chat_json *j = &m->json;
    bool in_object = j->depth && j->closer[j->depth - 1] == '}';
    if (j->state == J_WORD)
        return;
    if (j->state >= J_STRING) {
        string_byte(m, c);
        return;
    }
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        return;
    bool may_end = j->state == J_NEXT || j->state == J_KEY_OR_END ||
                   j->state == J_VALUE_OR_END;
    if (may_end && c == j->closer[j->depth - 1]) {
        container_ends(m);
    } else if (j->state == J_NEXT && c == ',') {
        j->state = in_object ? J_KEY : J_VALUE;
    } else if (j->state == J_COLON && c == ':') {
        j->state = J_VALUE;
    } else if ((j->state == J_KEY || j->state == J_KEY_OR_END) && c == '"') {
        j->state = J_STRING;
        j->target = TO_KEY;
        j->key_len = 0;
    } else if (j->state == J_VALUE || j->state == J_VALUE_OR_END) {
        value_begins(m, c);
    } else {
        json_bad(m);
    }
}

static void json_byte(struct chat_message *m, char c)
{
    struct chat_json *j = &m->json;
    if (j->state == J_WORD && !word_byte(c))
        value_ended(m);                            // and c is what comes behind it
    uint8_t raw = j->raw;
    json_step(m, c);
    raw = raw ? raw : j->raw;
    if (raw && j->state != J_BAD)
        put(m, raw, &c, 1);
}

static const char THINK[] = "<think>", UNTHINK[] = "</think>", CLOSE[] = "</tool_call>";

static const char *opener(enum chat_format f)
{
    return f == CHAT_FORMAT_HERMES ? "<tool_call>"
           : f == CHAT_FORMAT_MISTRAL ? "[TOOL_CALLS]"
           : f == CHAT_FORMAT_LLAMA_3 ? "<|python_tag|>"
                                      : "";
}

static void drop(struct chat_message *m, size_t n)
{
    if (n)
        memmove(m->pending.s, m->pending.s + n, m->pending.len - n);
    m->pending.len -= n;
}

static void give(struct chat_message *m, struct chat_text *to, size_t n)
{
    if (n && !chat_text_add(to, m->pending.s, n))
        m->failed = true;
    drop(m, n);
}

static size_t leading_space(const struct chat_message *m)
{
    size_t n = 0;
    while (n < m->pending.len && isspace((uint8_t)m->pending.s[n]))
        n++;
    return n;
}

static size_t without_space(const char *s, size_t len)
{
    while (len && isspace((uint8_t)s[len - 1]))
        len--;
    return len;
}

enum tag { TAG_NO, TAG_PERHAPS, TAG_YES };

/* Does pending, from `at` on, begin with the tag? */
static enum tag begins(const struct chat_message *m, size_t at, const char *tag)
{
    size_t n = strlen(tag), have = m->pending.len - at;
    if (have >= n)
        return memcmp(m->pending.s + at, tag, n) == 0 ? TAG_YES : TAG_NO;
    return !have || memcmp(m->pending.s + at, tag, have) == 0 ? TAG_PERHAPS : TAG_NO;
}

/* Where the tag is, or where it could still begin: TAG_NO means at the very end. */
static enum tag find(const struct chat_message *m, const char *tag, size_t *at)
{
    for (*at = 0; *at < m->pending.len; ++*at) {
        enum tag t = m->pending.s[*at] == *tag ? begins(m, *at, tag) : TAG_NO;
        if (t != TAG_NO)
            return t;
    }
    return TAG_NO;
}

enum message_state { M_START, M_THINK, M_THOUGHT, M_CONTENT, M_CALL, M_CALLED };

/* Each of these looks at what is pending. true: something changed, look again. */
static bool step_start(struct chat_message *m, bool end)
{
    size_t at = leading_space(m);
    enum tag t = m->split ? begins(m, at, THINK) : TAG_NO;
    if (t == TAG_PERHAPS && !end)
        return false;
    if (t == TAG_YES)
        drop(m, at + strlen(THINK));
    m->state = t == TAG_YES ? M_THINK : M_CONTENT;
    return true;
}

static bool step_think(struct chat_message *m, bool end)
{
    size_t at;
    if (!m->reasoning.len)
        drop(m, leading_space(m));
    enum tag t = find(m, UNTHINK, &at);
    if (t == TAG_PERHAPS && end)
        at = m->pending.len;
    size_t n = m->pending.len ? without_space(m->pending.s, at) : 0;
    give(m, &m->reasoning, n);
    if (t != TAG_YES)
        return false;
    drop(m, at - n + strlen(UNTHINK));
    m->state = M_THOUGHT;
    return true;
}

static bool step_thought(struct chat_message *m)
{
    drop(m, leading_space(m));
    if (m->pending.len)
        m->state = M_CONTENT;
    return m->pending.len != 0;
}

static void begin_call(struct chat_message *m, size_t at)
{
    m->state = M_CALL;
    m->json = (struct chat_json){ .state = J_VALUE };
    m->at = at;
    m->used = 0;
    m->n_before = m->n_calls;
    m->responding = false;
}

/* A tag in front of calls, anywhere in the text. */
static bool step_tagged_content(struct chat_message *m, bool end)
{
    size_t at;
    enum tag t = find(m, opener(m->format), &at);
    if (end && t != TAG_YES) {
        give(m, &m->content, m->pending.len);
        return false;
    }
    give(m, &m->content, m->pending.len ? without_space(m->pending.s, at) : 0);
    if (t == TAG_YES)
        begin_call(m, leading_space(m) + strlen(opener(m->format)));
    return t == TAG_YES;
}

/* Calls are the whole message, or are not there. */
static bool step_bare_content(struct chat_message *m, bool end)
{
    size_t at = leading_space(m);
    enum tag t = m->format == CHAT_FORMAT_LLAMA_3 ? begins(m, at, opener(m->format))
                                                  : TAG_NO;
    bool undecided = at == m->pending.len || t == TAG_PERHAPS;
    if (m->fresh && undecided && !end)
        return false;
    if (t == TAG_YES)
        at += strlen(opener(m->format));
    if (m->fresh && at == m->pending.len && !end)
        return false;
    if (m->fresh && at < m->pending.len && m->pending.s[at] == '{') {
        begin_call(m, at);
        return true;
    }
    m->fresh = m->fresh && !m->pending.len;
    give(m, &m->content, m->pending.len);
    return false;
}

static bool step_content(struct chat_message *m, bool end)
{
    switch (m->format) {
    case CHAT_FORMAT_HERMES:
    case CHAT_FORMAT_MISTRAL: return step_tagged_content(m, end);
    case CHAT_FORMAT_LLAMA_3:
    case CHAT_FORMAT_GENERIC: return step_bare_content(m, end);
    default: give(m, &m->content, m->pending.len); return false;
    }
}

/* It was no call after all, or only its beginning: what is pending is text. */
static void call_was_text(struct chat_message *m, size_t n)
{
    bool shown = m->n_calls > m->n_before || m->responding;
    call_dropped(m);
    m->fresh = false;
    if (shown && m->json.state != J_BAD)
        drop(m, n);                                // the end of a call that was cut off
    else
        give(m, &m->content, n);
    m->state = M_CONTENT;
}

static bool step_call(struct chat_message *m, bool end)
{
    struct chat_json *j = &m->json;
    while (m->at < m->pending.len && j->state != J_DONE && j->state != J_BAD) {
        json_byte(m, m->pending.s[m->at]);
        if (j->state == J_BAD)
            break;
        m->at++;
        if (m->responding || (m->n_calls > m->n_before && m->n_calls == m->n_started))
            m->used = m->at;
    }
    bool nothing = m->n_calls == m->n_before && !m->responding;
    if (j->state == J_DONE && !nothing) {
        drop(m, m->at);
        m->state = M_CALLED;
        return true;
    }
    drop(m, m->used);
    m->at -= m->used;
    m->used = 0;
    if (j->state != J_BAD && j->state != J_DONE && !end)
        return false;
    call_was_text(m, m->at);
    return true;
}

static bool step_called(struct chat_message *m, bool end)
{
    drop(m, leading_space(m));
    if (!m->pending.len)
        return false;
    if (m->format == CHAT_FORMAT_LLAMA_3 && m->pending.s[0] == ';') {
        drop(m, 1);
        return true;
    }
    if (m->format == CHAT_FORMAT_LLAMA_3 && m->pending.s[0] == '{') {
        begin_call(m, 0);
        return true;
    }
    enum tag t = m->format == CHAT_FORMAT_HERMES ? begins(m, 0, CLOSE) : TAG_NO;
    if (t == TAG_PERHAPS && !end)
        return false;
    if (t == TAG_YES)
        drop(m, strlen(CLOSE));
    else
        m->state = M_CONTENT;
    m->fresh = false;
    return true;
}

static bool run(struct chat_message *m, bool end)
{
    bool again = true;
    while (again && !m->failed)
        switch (m->state) {
        case M_START: again = step_start(m, end); break;
        case M_THINK: again = step_think(m, end); break;
        case M_THOUGHT: again = step_thought(m); break;
        case M_CONTENT: again = step_content(m, end); break;
        case M_CALL: again = step_call(m, end); break;
        default: again = step_called(m, end); break;
        }
    return !m->failed;
}

void chat_message_init(struct chat_message *m, enum chat_format format, bool split,
                       bool thinking)
{
    memset(m, 0, sizeof *m);
    m->format = format;
    m->split = split;
    m->fresh = true;
    m->state = split && thinking ? M_THINK : M_START;
}

bool chat_message_add(struct chat_message *m, const char *text, size_t len)
{
    if (len && !chat_text_add(&m->pending, text, len))
        m->failed = true;
    return run(m, false);
}

bool chat_message_end(struct chat_message *m) { return run(m, true); }

void chat_message_free(struct chat_message *m)
{
    for (int i = 0; m->call && i < m->n_started; i++) {
        chat_text_free(&m->call[i].id);
        chat_text_free(&m->call[i].name);
        chat_text_free(&m->call[i].arguments);
    }
    kfree(m->call);
    chat_text_free(&m->content);
    chat_text_free(&m->reasoning);
    chat_text_free(&m->pending);
    m->call = NULL;
    m->n_calls = m->n_started = 0;
}

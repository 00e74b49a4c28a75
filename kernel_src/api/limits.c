/* limits.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § Limits at the end of a line ---- */

/* limits.c: n_indent and t_max_predict_ms, llama-server's limits for completing code.
 * Pure; a member of llm.c's set of limits. */
// twin: limits.c
#include "base/string.h"
#include "llm/llm.h"

/* The current line has a visible character too early: the text ends in front of it. */
static bool cut_at_indent(struct llm_task *t)
{
    struct text_stream *s = &t->text;
    size_t at = t->line;
    while (at < s->len && (s->text[at] == ' ' || s->text[at] == '\t'))
        at++;
    if (t->n_indent <= 0 || t->line == 0 || at == s->len ||
        at - t->line >= (size_t)t->n_indent)
        return false;
    s->len = at;
    s->sent = s->sent < at ? s->sent : at;
    return true;
}

static bool line_limits(const struct llm *l, struct llm_task *t)
{
    bool new_line = false;
    if ((t->n_indent <= 0 && t->t_max_predict_ms <= 0) || !t->text.len)
        return false;
    for (;;) {
        if (cut_at_indent(t))
            return true;
        const char *from = t->text.text + t->line,
                   *nl = memchr(from, '\n', t->text.len - t->line);
        if (!nl)
            break;
        t->line += (size_t)(nl - from) + 1;
        new_line = true;
    }
    return new_line && t->t_max_predict_ms > 0 &&
           l->now_us() - t->t_prompt_us > (uint64_t)t->t_max_predict_ms * 1000;
}
LLM_LIMIT(line_limits);

/* terminal.c: tangled from nbs/llm/23_terminal.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/23_terminal.ipynb § The talk ---- */

/* terminal.c: see terminal.h. */
#include "base/memory.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"
#include "llm/terminal.h"

/* The oldest question leaves, and its answer. */
static void forget_oldest(struct terminal *t)
{
    int32_t n = t->n_messages < 2 ? t->n_messages : 2;
    uint32_t gone = n < t->n_messages ? (uint32_t)(t->message[n].content - t->text)
                                      : t->text_len;
    memmove(t->text, t->text + gone, t->text_len - gone);
    t->text_len -= gone;
    t->n_messages -= n;
    for (int32_t i = 0; i < t->n_messages; i++) {
        t->message[i] = t->message[i + n];
        t->message[i].content -= gone;
    }
}

/* An answer of more than half the buffer keeps only its beginning. */
static int32_t remember(struct terminal *t, const char *role, const char *s, size_t len)
{
    int32_t forgotten = 0;
    if (len > TERMINAL_TEXT_MAX / 2)
        len = utf8_complete(s, TERMINAL_TEXT_MAX / 2);
    while (t->n_messages == TERMINAL_MESSAGES_MAX ||
           len >= TERMINAL_TEXT_MAX - t->text_len) {
        forget_oldest(t);
        forgotten++;
    }
    char *to = t->text + t->text_len;
    memcpy(to, s, len);
    to[len] = 0;
    t->text_len += (uint32_t)len + 1;
    t->message[t->n_messages++] = (struct llama_chat_message){ role, to };
    return forgotten;
}

static void forget_last(struct terminal *t)
{
    t->text_len = (uint32_t)(t->message[--t->n_messages].content - t->text);
}

/* ---- nbs/llm/23_terminal.ipynb § From the talk to a task ---- */

/* Tokens of `text` into t->tokens. Their number, or -1: no memory. */
static int32_t tokenize(struct terminal *t, const char *text, size_t len)
{
    if (len > LLAMA_TOKENIZE_MAX)
        return -1;
    int32_t n, room = (int32_t)len + 8;
    for (;;) {
        int32_t *p = krealloc(t->tokens, (size_t)room * sizeof *p);
        if (!p)
            return -1;
        t->tokens = p;
        n = llama_tokenize(&t->llm->vocab, text, (int32_t)len, p, room, true, true);
        if (n >= 0 || n == LLAMA_TOKENIZE_FAILED)
            return n >= 0 ? n : -1;
        room = -n;
    }
}

static int32_t tokenize_chat(struct terminal *t)
{
    size_t n = (size_t)t->n_messages;
    size_t len = llama_chat_apply_template(t->tmpl, t->message, n, true, NULL, 0);
    char *text = kmalloc(len + 1);
    if (!text)
        return -1;
    llama_chat_apply_template(t->tmpl, t->message, n, true, text, len + 1);
    int32_t n_tokens = tokenize(t, text, len);
    kfree(text);
    return n_tokens;
}

/* The prompt's tokens, after as much forgetting as it takes. */
static int32_t fit(struct terminal *t, int32_t *forgotten)
{
    int32_t n_ctx = t->llm->n_ctx_slot, n, spare = n_ctx / 4;
    if (spare > TERMINAL_PREDICT_MAX)
        spare = TERMINAL_PREDICT_MAX;
    int32_t most = n_ctx - spare;
    while ((n = tokenize_chat(t)) > most && t->n_messages > 2) {
        forget_oldest(t);
        ++*forgotten;
        most = n_ctx / 2;
    }
    return n;
}

/* ---- nbs/llm/23_terminal.ipynb § The answer ---- */

static void say(struct terminal *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct terminal *t, const char *fmt, ...)
{
    char s[LINE_BYTES_MAX + 128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    t->write(s, strlen(s));
}

static void show_answer(struct terminal *t, const char *s, size_t n)
{
    char out[64];
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        int found = text_char((const uint8_t *)s + i, n - i);
        size_t len = found > 0 ? (size_t)found : 1;
        memcpy(out + k, s + i, len);
        if (found <= 0 && s[i] != '\n' && s[i] != '\t')
            out[k] = '?';
        k += len;
        i += len;
        if (k > sizeof out - 4 || i == n) {
            t->write(out, k);
            t->last = out[k - 1];
            k = 0;
        }
    }
}

static void finish(struct terminal *t)
{
    struct llm_task *k = &t->task;
    if (t->last != '\n')
        t->write("\n", 1);
    if (k->stop_type == LLM_STOP_ERROR)
        say(t, "[%s]\n", k->error);
    else if (k->truncated)
        say(t, "[the context is full]\n");
    else if (k->stop_type == LLM_STOP_LIMIT)
        say(t, "[cut off after %d tokens]\n", (int)k->n_decoded);
    else if (k->stop_type != LLM_STOP_NONE && !k->text.len)
        say(t, "[the model has nothing to say]\n");

    if (t->tmpl != LLM_CHAT_TEMPLATE_UNKNOWN && k->text.len)
        remember(t, "assistant", k->text.text, k->text.len);
    else if (t->tmpl != LLM_CHAT_TEMPLATE_UNKNOWN)
        forget_last(t);
    text_stream_free(&k->text);
    kfree(t->tokens);
    t->tokens = NULL;
    t->busy = false;
    line_begin(&t->line);
}

static void on_token(struct llm_task *k, int32_t token, const char *text, size_t len)
{
    (void)token;
    show_answer(k->user, text, len);
}

static void on_done(struct llm_task *k) { finish(k->user); }

static void cancel(struct terminal *t)
{
    llm_cancel(t->llm, &t->task);
    t->task.t_end_us = t->llm->now_us();
    t->ahead_out = t->ahead_in;
    t->line.after_cr = false;              /* its '\n' was among the keys just dropped */
    t->write("^C", 2);
    t->last = 'C';
    finish(t);
}

/* ---- nbs/llm/23_terminal.ipynb § Asking ---- */

static void refuse(struct terminal *t, enum llm_submit_result r, int32_t n_prompt)
{
    if (n_prompt < 0)
        say(t, "[no memory for this question now; try again]\n");
    else if (r == LLM_QUEUE_FULL)
        say(t, "[%d requests are waiting already; try again]\n", LLM_QUEUE_MAX);
    else if (r == LLM_PROMPT_TOO_LONG)
        say(t, "[too long: %d tokens, and the context holds %d]\n", (int)n_prompt,
            (int)t->llm->n_ctx_slot);
    else
        say(t, "[the model cannot answer this: error %d]\n", (int)r);
    if (t->tmpl != LLM_CHAT_TEMPLATE_UNKNOWN)
        forget_last(t);
    kfree(t->tokens);
    t->tokens = NULL;
}

static void ask(struct terminal *t, const char *line)
{
    static const struct llm_callbacks callbacks = { .on_token = on_token,
                                                    .on_done = on_done };
    int32_t forgotten = 0, n;
    if (t->tmpl == LLM_CHAT_TEMPLATE_UNKNOWN) {
        n = tokenize(t, line, strlen(line));
    } else {
        forgotten = remember(t, "user", line, strlen(line));
        n = fit(t, &forgotten);
    }
    if (forgotten)
        say(t, "[no room: %d old %s forgotten]\n", (int)forgotten,
            forgotten == 1 ? "turn is" : "turns are");
    t->task = (struct llm_task){
        .prompt = t->tokens,
        .n_prompt = n,
        .n_predict = TERMINAL_PREDICT_MAX,
        .id_slot = -1,
        .cache_prompt = true,
        .sampling = llama_sampler_default_params(),
        .cb = &callbacks,
        .user = t,
    };
    t->task.sampling.temp = t->temp;
    t->last = '\n';
    enum llm_submit_result r = n < 0 ? LLM_PROMPT_EMPTY : llm_submit(t->llm, &t->task);
    t->busy = r == LLM_SUBMITTED;
    if (!t->busy)
        refuse(t, r, n);
    else if (llm_n_busy(t->llm) == t->llm->n_slots)
        say(t, "[all %d slots are busy: waiting for one]\n", (int)t->llm->n_slots);
}

/* ---- nbs/llm/23_terminal.ipynb § Commands ---- */

static void command_help(struct terminal *t, const char *arg);

static void command_reset(struct terminal *t, const char *arg)
{
    (void)arg;
    t->n_messages = 0;
    t->text_len = 0;
    say(t, "the conversation is forgotten\n");
}

static void command_temp(struct terminal *t, const char *arg)
{
    char *end;
    double temp = strtod(arg, &end);
    if (*arg && !*end && temp >= 0 && temp <= TERMINAL_TEMP_MAX)
        t->temp = (float)temp;
    else if (*arg)
        say(t, "a temperature is a number from 0 to %d\n", TERMINAL_TEMP_MAX);
    say(t, "temperature %.2f\n", (double)t->temp);
}

static void command_stats(struct terminal *t, const char *arg)
{
    const struct llm_task *k = &t->task;
    uint32_t us = (uint32_t)(k->t_end_us - k->t_prompt_us);
    (void)arg;
    if (!k->t_prompt_us) {
        say(t, "no answer yet\n");
        return;
    }
    say(t, "prompt: %d tokens, %d of them from the cache; %u ms\n", (int)k->n_prompt,
        (int)k->n_cached, (unsigned)(k->t_prompt_us - k->t_start_us) / 1000);
    say(t, "answer: %d tokens; %u ms; %.1f tokens/s\n", (int)k->n_decoded, us / 1000,
        us ? k->n_decoded * 1e6 / us : 0.0);
    say(t, "context: %d of %d tokens; %d messages\n", (int)k->n_past,
        (int)t->llm->n_ctx_slot, (int)t->n_messages);
}

static const struct command {
    const char *name, *help;
    void (*run)(struct terminal *t, const char *arg);
} commands[] = {
    { "/help", "this list", command_help },
    { "/reset", "forget the conversation", command_reset },
    { "/temp", "temperature, as /temp 0.7; at 0 the likeliest token wins", command_temp },
    { "/stats", "figures of the last answer", command_stats },
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void command_help(struct terminal *t, const char *arg)
{
    (void)arg;
    for (size_t i = 0; i < N_COMMANDS; i++)
        say(t, "%-8s %s\n", commands[i].name, commands[i].help);
    say(t, "%-8s end the answer, or drop the line\n", "Ctrl-C");
    say(t, "%-8s the same, where Ctrl-C is taken\n", "Ctrl-G");
    say(t, "%-8s empty the line\n", "Ctrl-U");
    say(t, "%-8s show the line again\n", "Ctrl-L");
}

static void command(struct terminal *t, char *line)
{
    char *arg = line;
    while (*arg && !isspace(*arg))
        arg++;
    if (*arg)
        *arg++ = 0;
    while (isspace(*arg))
        arg++;
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(line, commands[i].name) == 0) {
            commands[i].run(t, arg);
            return;
        }
    say(t, "%s is no command; /help lists them\n", line);
}

/* ---- nbs/llm/23_terminal.ipynb § One key at a time ---- */

void terminal_init(struct terminal *t, struct llm *llm, enum llm_chat_template tmpl,
                   void (*write)(const char *s, size_t n))
{
    memset(t, 0, sizeof *t);
    t->llm = llm;
    t->tmpl = tmpl;
    t->write = t->line.write = write;
    t->line.prompt = "> ";
    t->temp = llama_sampler_default_params().temp;
}

void terminal_show(struct terminal *t)
{
    if (!t->shown)
        line_begin(&t->line);
    t->shown = true;
}

static void entered(struct terminal *t)
{
    char *s = t->line.text, *end = s + t->line.len;
    while (*s == ' ')
        s++;
    while (end > s && end[-1] == ' ')
        *--end = 0;
    if (*s == '/')
        command(t, s);
    else if (*s)
        ask(t, s);
    if (!t->busy)
        line_begin(&t->line);
}

bool terminal_poll(struct terminal *t, int key)
{
    if (key >= 0 && t->busy && line_key_cancels((uint8_t)key)) {
        cancel(t);
        return true;
    }
    if (key >= 0 && t->ahead_in - t->ahead_out < TERMINAL_AHEAD_MAX)
        t->ahead[t->ahead_in++ % TERMINAL_AHEAD_MAX] = (uint8_t)key;
    else if (key >= 0)
        t->write("\a", 1);
    if (t->busy || t->ahead_in == t->ahead_out)
        return key >= 0;

    terminal_show(t);
    key = t->ahead[t->ahead_out++ % TERMINAL_AHEAD_MAX];
    switch (line_key(&t->line, (uint8_t)key)) {
    case LINE_ENTERED: entered(t); break;
    case LINE_CANCELLED: line_begin(&t->line); break;
    case LINE_MORE: break;
    }
    return true;
}

void terminal_aside(struct terminal *t, bool begins)
{
    if (!begins) {
        line_unhide(&t->line);
    } else if (t->busy && t->last != '\n') {
        t->write("\n", 1);
        t->last = '\n';
    } else {
        line_hide(&t->line);
    }
}

/* constrain.h: tangled from nbs/api/29_constrained.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/29_constrained.ipynb § The contract ---- */

/* constrain.h: what the text of a completion must keep to.
 *
 * struct constrain       of a request: a grammar's text, read and checked; constant then
 * struct constrain_task  of one answer: how far it has come in that grammar
 * A lazy grammar waits until one of its triggers is in the text; the grammar then begins
 * with the trigger itself. Text is what the client sees, so a control token has none:
 * name one in a grammar as <text> or <[id]>. (A trigger may be a control token's text.)
 * constrain.c is pure; constrain_edge.c makes it a part of every completion. Whoever
 * forces a grammar on a completion calls constrain_set(&c->p.constrain, ...) before the
 * completion's parts begin, for example while its prompts are made. */
// twin: constrain.c grammar.c json_schema.c json.c tokenizer.c gguf.c ggml-type.c
// memory.c
#pragma once
#include "api/params.h"
#include "llm/grammar.h"

#define CONSTRAIN_TRIGGERS_MAX      8     // in one request
#define CONSTRAIN_TRIGGER_BYTES_MAX 64    // in one of them
#define CONSTRAIN_TRIGGER_WORD      1     // their type in grammar_triggers

struct constrain {
    char *text;                           // GBNF, NUL-terminated
    size_t len;
    int32_t n_triggers;                   // > 0: lazy
    char trigger[CONSTRAIN_TRIGGERS_MAX][CONSTRAIN_TRIGGER_BYTES_MAX + 1];
    struct grammar grammar;               // from constrain_prepare on
    const struct grammar_vocab *pieces;
    const struct llama_vocab *vocab;
    struct grammar_matcher *spare;        // for the first task that needs one
};

/* Everywhere: *k NULL means no constraint; false means *err says what to answer, and what
 * *k holds by then is constrain_free's. */

/* The request's grammar, json_schema, response_format, grammar_lazy, grammar_triggers. */
bool constrain_read(struct constrain **k, const struct json_node *body,
                    struct params_error *err);

/* Force a grammar (GBNF, copied) instead of what is there. With n > 0 triggers it is
 * lazy. */
bool constrain_set(struct constrain **k, const char *gbnf, size_t len,
                   const char *const *trigger, int32_t n, struct params_error *err);
/* The same from a JSON schema; NULL or {}: any JSON object. */
bool constrain_set_schema(struct constrain **k, const struct json_node *schema,
                          struct params_error *err);

/* Parse the grammar. The vocabulary, in both its forms, must outlive k. */
bool constrain_prepare(struct constrain *k, const struct llama_vocab *vocab,
                       const struct grammar_vocab *pieces, struct params_error *err);
void constrain_free(struct constrain *k);

/* Its fields in generation_settings. */
void constrain_write(struct json_writer *w, const struct constrain *k);

/* For llm_task.constraint; NULL: no memory. k must outlive it. */
struct llm_constraint *constrain_task_new(struct constrain *k);
void constrain_task_free(struct llm_constraint *t);

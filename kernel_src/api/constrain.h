/* constrain.h: tangled from nbs/api/29_constrained.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/29_constrained.ipynb § The contract ---- */

/* constrain.h: what the text of a completion must keep to.
 *
 * struct constrain       of a request: a grammar's text, read and checked; constant then
 * struct constrain_task  of one answer: how far it has come in that grammar
 * A lazy grammar waits until one of its triggers is in the text; the grammar then begins
 * with the trigger itself. Text is what the client sees, so a control token has none:
 * name one in a grammar as <text> or <[id]>. All zero means: no constraint.
 * constrain.c is pure; constrain_edge.c knows the kernel's model. Called by params.c,
 * completion.c, and by whoever forces a grammar on a completion (constrain_set). */
// twin: constrain.c grammar.c json_schema.c json.c tokenizer.c gguf.c ggml-type.c
// memory.c
#pragma once
#include "api/json.h"
#include "llm/grammar.h"
#include "llm/llm.h"

#define CONSTRAIN_TRIGGERS_MAX      8     // in one request
#define CONSTRAIN_TRIGGER_BYTES_MAX 64    // in one of them
#define CONSTRAIN_TRIGGER_WORD      1     // their type in grammar_triggers

struct params_error;                      // params.h; a status of 503: no memory

struct constrain {
    char *text;                           // GBNF, NUL-terminated; NULL: no constraint
    size_t len;
    int32_t n_triggers;                   // > 0: lazy
    char trigger[CONSTRAIN_TRIGGERS_MAX][CONSTRAIN_TRIGGER_BYTES_MAX + 1];
    struct grammar grammar;               // from constrain_prepare on
    const struct grammar_vocab *pieces;
    const struct llama_vocab *vocab;
    struct grammar_matcher *spare;        // for the first task that needs one
};

/* The request's grammar, json_schema and response_format. false: *err says why. */
bool constrain_read(struct constrain *k, const struct json_node *body,
                    struct params_error *err);

/* Force a grammar (GBNF, copied) instead of what is there. With n > 0 triggers it is
 * lazy. Before constrain_prepare. */
bool constrain_set(struct constrain *k, const char *gbnf, size_t len,
                   const char *const *trigger, int32_t n, struct params_error *err);
/* The same from a JSON schema; NULL or {}: any JSON object. */
bool constrain_set_schema(struct constrain *k, const struct json_node *schema,
                          struct params_error *err);

/* Parse the grammar. The vocabulary, in both its forms, must outlive k. */
bool constrain_prepare(struct constrain *k, const struct llama_vocab *vocab,
                       const struct grammar_vocab *pieces, struct params_error *err);
bool constrain_prepare_kernel(struct constrain *k, struct params_error *err); // edge
void constrain_free(struct constrain *k);

/* Its fields in generation_settings. */
void constrain_write(struct json_writer *w, const struct constrain *k);

/* For llm_task.constraint. *t is NULL if there is nothing to keep to; k must outlive it.
 * false: no memory. */
struct constrain_task;
bool constrain_task_new(struct constrain_task **t, struct constrain *k);
struct llm_constraint *constrain_task_hook(struct constrain_task *t);
void constrain_task_free(struct constrain_task *t);

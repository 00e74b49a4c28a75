/* completion.h: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § A completion ---- */

/* completion.h: one request's generation, from its JSON to its last byte. Called by
 * routes. */
#pragma once
#include "api/params.h"
#include "api/prompt.h"

#define COMPLETION_TASKS_MAX 64        // prompts times n, or embedding inputs

enum completion_shape { SHAPE_NATIVE, SHAPE_OAI, SHAPE_CHAT, SHAPE_EMBEDDING };

struct completion_task {
    struct llm_task task; // first: a pointer to one is a pointer to the other
    struct completion *c;
    int32_t index, *tokens;
    int32_t token;                     // the last one drawn; 0 before the first
    bool done;
    float *embedding;                  // (n_embd), SHAPE_EMBEDDING
    int32_t *out_tokens, n_out, cap_out;      // with return_tokens
    struct task_logprobs *logprobs;    // chapter 30; NULL: nobody asked
};

struct completion {
    struct completion *next;           // all that are alive
    struct http_conn *conn;
    enum completion_shape shape;
    struct json_doc doc;
    struct gen_params p;
    char id[48];
    int64_t created;
    uint64_t t_sent_ms;                // the last event or ping
    bool base64, began;
    bool broken, tokens_lost;          // memory ran out: for an event, for return_tokens
    int32_t n_tasks, n_done;
    char *queue;                       // events that HTTP did not take yet
    size_t queued, queue_cap;
    struct chat *chat;                 // chapter 28; NULL: the text is the content
    const struct completion_dialect *dialect; // chapter 32; NULL: the shapes of shapes.h
    void *state;                       // (dialect->state_size) the dialect's, zeroed
    struct completion_task t[];
};

/* Chapter 30, if it is linked: log-probabilities, echo, response_fields. false: no
 * memory. logprobs_token: the last token has given out this text; true: that is worth a
 * piece of the stream, even if it is empty. */
#define WEAK __attribute__((weak))
WEAK bool logprobs_begin(struct completion_task *t);
WEAK void logprobs_end(struct completion_task *t);
WEAK bool logprobs_logits(struct llm_task *task, const float *logits,
                          const struct llama_token_data_array *left, int32_t token);
WEAK bool logprobs_token(struct completion_task *t, const char *text, size_t len);
WEAK void logprobs_sent(struct completion_task *t);
WEAK void shape_probabilities(struct json_writer *w, const struct completion_task *t);
WEAK void shape_chat_logprobs(struct json_writer *w, const struct completion_task *t);
WEAK void shape_text_logprobs(struct json_writer *w, const struct completion_task *t,
                              const char *text, size_t len);
WEAK void response_fields_keep(struct json_writer *w, size_t from,
                               const struct json_node *fields);

/* Chapter 28, if it is linked: an answer's text taken apart into thoughts, content and
 * tool calls. chat_feed: some of the task's text has come; end: no more will. */
enum chat_news { CHAT_NOTHING, CHAT_NEWS, CHAT_NO_MEMORY };
WEAK struct chat *chat_new(int32_t n_tasks);
WEAK void chat_free(struct chat *chat);
WEAK bool chat_begin(struct completion *c, struct params_error *err);
WEAK enum chat_news chat_feed(struct completion_task *t, const char *text, size_t len,
                              bool end);
WEAK bool chat_has_calls(const struct completion_task *t);
WEAK void chat_delta(struct json_writer *w, const struct completion_task *t);
WEAK void chat_whole(struct json_writer *w, const struct completion_task *t);

/* What a task or an answer belongs to, as long as it lives; NULL: to no completion. */
const struct completion *completion_of_task(const struct llm_task *t);
const struct completion *completion_of_conn(const struct http_conn *conn);

/* What a later chapter adds to all completions: a member of linker set `completion_part`.
 * Every member may be NULL. false: *err says what to answer (503: no memory), and `free`
 * comes next. */
struct completion_part {
    const char *const *fields;         // of the request, that it sees to; NULL ends them
    bool (*read)(struct completion *c, struct params_error *err); // the fields
    bool (*begin)(struct completion *c, struct params_error *err); // prompts are there
    void (*done)(struct completion_task *t);                      // its task has ended
    void (*free)(struct completion *c);
    void (*settings)(struct json_writer *w, const struct gen_params *p);
};
#define COMPLETION_PART(id) \
    LINKER_SET(completion_part, struct completion_part, completion_part_##id)

/* Answers in another dialect. Each member may be NULL, except that a completion which may
 * be streamed needs begin, piece and end, and has one task. */
struct completion_dialect {
    size_t state_size;
    void (*answer)(struct json_writer *w, struct completion *c); // not streamed
    void (*begin)(struct completion_task *t);                    // of a stream
    void (*progress)(struct completion_task *t); // in the prompt, with return_progress
    void (*piece)(struct completion_task *t, const char *text, size_t len);
    void (*end)(struct completion_task *t);
    const char *error_event;           // an error's event has this name
    void (*normalize)(const struct completion *c, const float *in, float *out,
                      int32_t n);      // an embedding
};

/* One event of a stream; name: of its `event:` line, or NULL. Frees w. */
void completion_event(struct completion *c, const char *name, struct json_writer *w);

/* Takes over doc, which must hold the request. Answers, now or later. */
void completion_start(struct http_conn *conn, enum completion_shape shape,
                      struct json_doc *doc);
void completion_start_in(struct http_conn *conn, enum completion_shape shape,
                         const struct completion_dialect *dialect, struct json_doc *doc);

/* Chapter 32, if it is linked: embd_normalize, and inputs of more forms. */
WEAK void post_embeddings_oai(struct http_conn *c, const struct http_request *req);

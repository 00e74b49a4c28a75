/* shapes.h: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § The answer's shapes ---- */

/* shapes.h: how a completion looks as JSON, whole and in streamed pieces. Called by
 * completion.c. */
#pragma once
#include "api/completion.h"

void shape_answer(struct json_writer *w, struct completion *c); // not streamed
void shape_chunk(struct json_writer *w, struct completion_task *t, const char *text,
                 size_t len); // a piece of text
void shape_role(struct json_writer *w,
                struct completion_task *t); // chat: the first chunk
void shape_progress(struct json_writer *w,
                    struct completion_task *t); // the prompt is not evaluated yet
void shape_extras(struct json_writer *w,
                  const struct completion_task *t); // timings, progress: if asked for
void shape_timings(struct json_writer *w, const struct llm_task *t);
void shape_last(struct json_writer *w, struct completion_task *t); // a task's last chunk
void shape_usage(struct json_writer *w,
                 struct completion *c); // stream_options.include_usage

/* logprob_shapes.h: tangled from nbs/api/30_logprobs.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/30_logprobs.ipynb § What a request may ask for ---- */

/* logprob_shapes.h: log-probabilities and echo in the API: what a request asks for, and
 * how the answer looks. completion.h declares what completion.c and shapes.c call, as
 * weak functions: without this chapter they answer 501. */
#pragma once
#include "api/completion.h"
#include "api/logprobs.h"

#define CHAT_TOP_LOGPROBS   20        // unless top_logprobs says otherwise
#define ECHO_LOGPROBS_MAX   100       // candidates of each position, with echo
#define RESPONSE_FIELDS_MAX 128       // names that an answer is searched for

struct task_logprobs {
    struct logprobs list;
    bool wanted;                      // false: only echo
    bool echo, echoed;                // the prompt in front of the text; it is out
    const char *prompt;               // its text
    size_t prompt_len;
    char *owned;                      // … if it had to be made
    int32_t n_prompt;                 // records of the list that are the prompt's
    size_t at;                        // text_offset: bytes of the completion counted …
    int32_t chars;                    // … and characters, the prompt's included
};

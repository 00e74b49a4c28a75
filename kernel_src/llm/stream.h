/* stream.h: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § Text that may be sent ---- */

/* stream.h: from token pieces to text that may be sent.
 *
 * A token can end in the middle of a UTF-8 character or of a stop string. text_stream
 * keeps all the text, and gives out only what can no longer change. Pure. Called by
 * llm.c. */
// twin: stream.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_stream {
    char *text;                 // kmalloc'ed
    size_t len, cap, sent;      // text[0, sent) has been given out
    size_t searched;            // no stop string ends in text[0, searched)
};

enum text_result {
    TEXT_MORE,    // go on; *out, *out_len is what may be sent now (perhaps nothing)
    TEXT_STOPPED, // a stop string: the text ends before it, *word says which
    TEXT_NO_MEMORY,
};

enum text_result text_stream_add(struct text_stream *s, const char *piece, size_t len,
                                 const char *const *stop, int n_stop, const char **out,
                                 size_t *out_len, int *word);
/* What was held back, once no more tokens come. */
void text_stream_flush(struct text_stream *s, const char **out, size_t *out_len);
void text_stream_free(struct text_stream *s);
size_t utf8_complete(const char *s,
                     size_t len); // bytes before an unfinished last character

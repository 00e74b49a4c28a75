/* terminal.h: tangled from nbs/llm/23_terminal.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/23_terminal.ipynb § The talk ---- */

/* terminal.h: a conversation with the model, from keys to text.
 *
 * Keys go in through terminal_poll, text comes out through `write`; in between a task
 * runs in one of the model's slots like any HTTP client's. Never waits. Keys that come
 * during an answer are kept for later, but for Ctrl-C, which ends it. Takes memory from
 * kmalloc only while a task is alive. Pure. Called by terminal_edge.c. */
// twin: terminal.c line.c chat.c and those of llm.h
#pragma once
#include "llm/chat.h"
#include "llm/line.h"
#include "llm/llm.h"

#define TERMINAL_TEXT_MAX     (32 << 10)   // bytes of conversation that are remembered
#define TERMINAL_MESSAGES_MAX 64           // ... and messages; an even number
#define TERMINAL_AHEAD_MAX    256          // keys kept during an answer; a power of two
#define TERMINAL_PREDICT_MAX  512          // tokens of an answer
#define TERMINAL_TEMP_MAX     2

struct terminal {
    struct llm *llm;
    void (*write)(const char *s, size_t n);
    enum llm_chat_template tmpl;           // UNKNOWN: each line is just continued
    float temp;
    bool shown;                            // the first prompt is on the screen
    struct line line;
    uint8_t ahead[TERMINAL_AHEAD_MAX];
    uint32_t ahead_in, ahead_out;          // ever counting

    char text[TERMINAL_TEXT_MAX];          // the messages' text, each with a NUL
    uint32_t text_len;
    struct llama_chat_message message[TERMINAL_MESSAGES_MAX];
    int32_t n_messages;                    // user, assistant, user, assistant ...

    bool busy;                             // `task` is submitted
    struct llm_task task;
    int32_t *tokens;                       // its prompt
    char last;                             // the last character shown of its answer
};

void terminal_init(struct terminal *t, struct llm *llm, enum llm_chat_template tmpl,
                   void (*write)(const char *s, size_t n));
void terminal_show(struct terminal *t);              // the first prompt, once
bool terminal_poll(struct terminal *t, int key);     // -1: no key; true: did something
void terminal_aside(struct terminal *t, bool begins);    // others write a line; did so

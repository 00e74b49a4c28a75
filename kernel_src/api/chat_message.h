/* chat_message.h: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § What the model said ---- */

/* chat_message.h: what the model said, taken apart while it is still being said.
 *
 * Thoughts, text and tool calls go into three places, as soon as it is certain where a
 * piece belongs. How the text was cut into pieces makes no difference. Texts are
 * kmalloc'ed. Pure. Called by chat_edge.c. */
// twin: chat_message.c string.c memory.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAT_CALLS_MAX 64            // tool calls in one message
#define CHAT_CALL_DEPTH_MAX 64       // JSON inside JSON

struct chat_text { char *s; size_t len, cap; };        // s[len] == 0, or s == NULL
bool chat_text_add(struct chat_text *t, const char *s, size_t len);  // false: no memory
bool chat_text_put(struct chat_text *t, const char *s);
void chat_text_free(struct chat_text *t);

enum chat_format {                   // how a model writes a tool call
    CHAT_FORMAT_CONTENT_ONLY,        // not at all
    CHAT_FORMAT_HERMES,              // <tool_call>{"name": …, "arguments": {…}}
                                     // </tool_call>
    CHAT_FORMAT_LLAMA_3,             // {"name": …, "parameters": {…}}, and nothing else
    CHAT_FORMAT_MISTRAL,             // [TOOL_CALLS][{"name": …, "arguments": {…}}, …]
    CHAT_FORMAT_GENERIC,             // {"tool_call": {…}}, {"tool_calls": […]} or
                                     // {"response": "…"}
    CHAT_FORMAT_UNKNOWN,             // in a way that is not read here
};

struct chat_call {
    struct chat_text id, name, arguments;   // arguments: JSON, as the model wrote it
    size_t sent;                            // the caller's: bytes of arguments
    bool announced;                         // the caller's: id and name are sent
};

struct chat_json {                   // inside a call
    uint8_t state, depth, raw_depth, target, raw, key_len, n_hex;
    char key[12];
    uint16_t code, high;             // \u escapes
    uint8_t role[CHAT_CALL_DEPTH_MAX], closer[CHAT_CALL_DEPTH_MAX];
};

struct chat_message {
    enum chat_format format;
    bool split;                      // look for <think>
    bool failed;                     // no memory: stays set
    bool fresh, has_arguments, responding;
    uint8_t state;
    int n_calls, n_started, n_before;       // call[0, n_calls) may be shown
    struct chat_call *call;                 // (CHAT_CALLS_MAX), from the first on
    struct chat_text content, reasoning;
    struct chat_text pending;        // text whose place is not certain
    size_t at, used;                 // of pending: read, and needed no more
    size_t content_sent, reasoning_sent;    // the caller's
    struct chat_json json;
};

/* thinking: the prompt has opened <think> already. */
void chat_message_init(struct chat_message *m, enum chat_format format, bool split,
                       bool thinking);
bool chat_message_add(struct chat_message *m, const char *text, size_t len);
bool chat_message_end(struct chat_message *m);      // no more comes. false: no memory
void chat_message_free(struct chat_message *m);

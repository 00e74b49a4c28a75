/* line.h: tangled from nbs/llm/23_terminal.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/23_terminal.ipynb § One character ---- */

/* line.h: one line of input, edited where it stands, from bytes as they come.
 *
 * `text` is always whole and printable UTF-8. On the screen stand the prompt and the
 * text, and the cursor behind them. Never waits. Pure, but for `write`, which shows
 * text. Called by terminal.c. */
// twin: line.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the printable character at s: 1 to 4. 0: none begins there. -1: n bytes are
 * too few to tell. */
int text_char(const uint8_t *s, size_t n);

/* ---- nbs/llm/23_terminal.ipynb § The line ---- */

#define LINE_BYTES_MAX 512     // of text; more rings the bell
#define LINE_COLUMNS   80      // of the narrower of the two screens

struct line {
    void (*write)(const char *s, size_t n);
    const char *prompt;                    // ASCII, shorter than a row
    char text[LINE_BYTES_MAX + 1];         // ends in NUL
    uint32_t len, width;                   // in bytes, in characters
    uint8_t part[4], n_part;               // the beginning of a character
    uint8_t escape;                        // where we are in an escape sequence
    bool after_cr;                         // a '\n' now is the second half of CR LF
    enum { LINE_NOWHERE, LINE_SHOWN, LINE_HIDDEN } on_screen;
};

enum line_event { LINE_MORE, LINE_ENTERED, LINE_CANCELLED };

void line_begin(struct line *l);           // empties the line and shows the prompt
void line_hide(struct line *l);            // the row is free for others to write
void line_unhide(struct line *l);          // they are done: the cursor is in column 0
enum line_event line_key(struct line *l, uint8_t key);
bool line_key_cancels(uint8_t key);

/* slot_store.h: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § Where saved slots go ---- */

/* slot_store.h: saved slots by name, in a block of memory of their own.
 *
 * A file is one allocation: this head, its tokens, its state. When there is no room, what
 * is saved stays as it is. Pure. Called by slots.c. */
// twin: slot_store.c memory.c
#pragma once
#include "base/memory.h"

#define SLOT_FILES_MAX 64
#define SLOT_NAME_MAX  255              // bytes, as upstream

struct slot_file {
    char name[SLOT_NAME_MAX + 1];
    uint64_t model;                     // fingerprint of what can use it
    uint32_t n_tokens, n_state;         // tokens; bytes of state
    int32_t *tokens;                    // (n_tokens)
    uint8_t *state;                     // (n_state)
};

struct slot_store {
    struct heap heap;
    size_t cap;                         // 0: saving is off
    int n_files;
    struct slot_file *file[SLOT_FILES_MAX];
};

void slot_store_init(struct slot_store *s, void *mem, size_t size);
bool slot_store_is_name(const char *name, size_t len);    // fit for a file, as upstream
struct slot_file *slot_store_find(struct slot_store *s, const char *name);    // or NULL
/* A new file, or the one of that name with a new size; the caller fills in tokens and
 * state. NULL: no room, or too many files. */
struct slot_file *slot_store_put(struct slot_store *s, const char *name,
                                 uint32_t n_tokens, uint32_t n_state);
void slot_store_drop(struct slot_store *s, struct slot_file *f);

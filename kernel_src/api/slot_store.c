/* slot_store.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § Where saved slots go ---- */

/* slot_store.c: see slot_store.h. */
#include "api/slot_store.h"
#include "base/string.h"

#define SLOT_STORE_MIN 65536            // less is not worth a heap

void slot_store_init(struct slot_store *s, void *mem, size_t size)
{
    memset(s, 0, sizeof *s);
    if (!mem || size < SLOT_STORE_MIN || size > HEAP_SIZE_MAX)
        return;
    heap_init(&s->heap, mem, size);
    s->cap = size;
}

bool slot_store_is_name(const char *name, size_t len)
{
    if (len == 0 || len > SLOT_NAME_MAX || name[0] == ' ' || name[len - 1] == ' ' ||
        name[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)name[i] < ' ' || name[i] == 0x7f || strchr("/\\:*?\"<>|", name[i]) ||
            (name[i] == '.' && i + 1 < len && name[i + 1] == '.'))
            return false;
    return true;
}

struct slot_file *slot_store_find(struct slot_store *s, const char *name)
{
    for (int i = 0; i < s->n_files; i++)
        if (strcmp(s->file[i]->name, name) == 0)
            return s->file[i];
    return NULL;
}

struct slot_file *slot_store_put(struct slot_store *s, const char *name,
                                 uint32_t n_tokens, uint32_t n_state)
{
    uint64_t size =
        sizeof(struct slot_file) + (uint64_t)n_tokens * sizeof(int32_t) + n_state;
    int i = 0;
    while (i < s->n_files && strcmp(s->file[i]->name, name) != 0)
        i++;
    if (size > s->cap || i == SLOT_FILES_MAX)
        return NULL;
    struct slot_file *old = i < s->n_files ? s->file[i] : NULL,
                     *f = heap_realloc(&s->heap, old, (size_t)size);
    if (!f)
        return NULL;
    s->file[i] = f;
    s->n_files += !old;
    strlcpy(f->name, name, sizeof f->name);
    f->n_tokens = n_tokens;
    f->n_state = n_state;
    f->tokens = (int32_t *)(f + 1);
    f->state = (uint8_t *)(f->tokens + n_tokens);
    return f;
}

void slot_store_drop(struct slot_store *s, struct slot_file *f)
{
    for (int i = 0; i < s->n_files; i++)
        if (s->file[i] == f) {
            s->file[i] = s->file[--s->n_files];
            heap_free(&s->heap, f);
            return;
        }
}

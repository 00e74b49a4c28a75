/* constrain_edge.c: tangled from nbs/api/29_constrained.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/29_constrained.ipynb § A part of every completion ---- */

/* constrain_edge.c: see constrain.h. The pieces of the kernel's model in alphabetical
 * order, made when the first grammar comes. */
#include "api/completion.h"
#include "api/constrain.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/time.h"

static const struct grammar_vocab *kernel_pieces(void)
{
    static struct grammar_vocab pieces;
    static const struct llama_model *of;  // the model they belong to
    struct arena *region = model_region();
    size_t mark = region->used;
    uint64_t t0 = time_us();
    if (of == kernel_llm.model)
        return &pieces;
    of = NULL;
    if (!grammar_vocab_load(&pieces, &kernel_llm.vocab, region)) {
        region->used = mark;
        kprintf("[api] no room beside the model for the pieces that grammars need\n");
        return NULL;
    }
    of = kernel_llm.model;
    kprintf("[api] grammars: %d pieces sorted, %u KiB, %u ms\n", (int)pieces.n_pieces,
            (unsigned)((region->used - mark) / 1024), (unsigned)(time_us() - t0) / 1000);
    return &pieces;
}

static const char *const fields[] = { "grammar",         "json_schema",
                                      "response_format", "grammar_lazy",
                                      "grammar_triggers", NULL };

static bool read(struct completion *c, struct params_error *err)
{
    return c->shape == SHAPE_EMBEDDING ||
           constrain_read(&c->p.constrain, c->doc.root, err);
}

static bool begin(struct completion *c, struct params_error *err)
{
    if (!c->p.constrain)
        return true;
    const struct grammar_vocab *pieces = kernel_pieces();
    bool ok = pieces && constrain_prepare(c->p.constrain, &kernel_llm.vocab, pieces, err);
    for (int32_t i = 0; ok && i < c->n_tasks; i++)
        ok = (c->t[i].task.constraint = constrain_task_new(c->p.constrain)) != NULL;
    if (!ok && !err->status)
        *err = (struct params_error){ 503, "unavailable_error", "" };
    return ok;
}

static void done(struct completion_task *t)
{
    constrain_task_free(t->task.constraint);
    t->task.constraint = NULL;
}

static void free_all(struct completion *c)
{
    for (int32_t i = 0; i < c->n_tasks; i++)
        done(&c->t[i]);
    constrain_free(c->p.constrain);
}

static void settings(struct json_writer *w, const struct gen_params *p)
{
    constrain_write(w, p->constrain);
}

COMPLETION_PART(constrain) = { .fields = fields, .read = read, .begin = begin,
                               .done = done, .free = free_all, .settings = settings };

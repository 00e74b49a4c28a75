/* constrain_edge.c: tangled from nbs/api/29_constrained.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/29_constrained.ipynb § The kernel ---- */

/* constrain_edge.c: see constrain.h. The pieces of the kernel's model in alphabetical
 * order, made when the first grammar comes. */
#include "api/constrain.h"
#include "api/params.h"
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

bool constrain_prepare_kernel(struct constrain *k, struct params_error *err)
{
    if (!k->text)
        return true;
    const struct grammar_vocab *pieces = kernel_pieces();
    if (pieces)
        return constrain_prepare(k, &kernel_llm.vocab, pieces, err);
    err->status = 503;
    err->type = "unavailable_error";
    snprintf(err->message, sizeof err->message,
             "no memory beside the model for grammars; give the machine more");
    return false;
}

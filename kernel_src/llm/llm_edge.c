/* llm_edge.c: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § At boot ---- */

/* llm_edge.c: the kernel's one engine. Loads the model at boot, steps it from the main
 * loop. */
#include "base/bootinfo.h"
#include "base/config.h"
#include "base/kernel.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "llm/llm.h"
#include "llm/quants.h"

CONFIG_KEY(ctx_size, "tokens of context for each slot (default: the model's)");
CONFIG_KEY(parallel, "slots: requests that run at once (default 4)");
CONFIG_KEY(batch_size, "tokens evaluated in one step (default 64)");
CONFIG_KEY(queue_max, "requests that may wait for a slot (default 64)");
CONFIG_KEY(embeddings, "1: serve embeddings (default 1)");
CONFIG_KEY(pooling, "mean, cls, last or none (default: the model's, else mean)");

struct llm kernel_llm;
const char *llm_load_error;
static char load_error[256];
extern const uint8_t baked_model_start[] __attribute__((weak)),
    baked_model_end[] __attribute__((weak));

static bool find_model(const uint8_t **data, size_t *size)
{
    for (int i = 0; i < boot_info.n_modules; i++) {
        const struct boot_module *m = &boot_info.modules[i];
        if (m->size >= 4 && memcmp(m->data, "GGUF", 4) == 0) {
            *data = m->data;
            *size = m->size;
            return true;
        }
    }
    *data = baked_model_start;
    *size = (size_t)(baked_model_end - baked_model_start);
    return *data != NULL && *size != 0;
}

static bool config_count(const char *key, int32_t *out)
{
    long v;
    if (!config_get(key))
        return true;
    if (!config_int(key, &v) || v < 0 || v > (1 << 24)) {
        kprintf("[llm] %s=%s is not a sensible number\n", key, config_get(key));
        return false;
    }
    *out = (int32_t)v;
    return true;
}

static bool read_params(struct llm_params *p)
{
    static const char *const pooling[] = { "none", "mean", "cls", "last" };
    int32_t embeddings = 1;
    *p = (struct llm_params){ .pooling = LLAMA_POOLING_TYPE_UNSPECIFIED };
    bool ok = config_count("ctx_size", &p->n_ctx) &&
              config_count("parallel", &p->n_parallel) &&
              config_count("batch_size", &p->n_batch) &&
              config_count("queue_max", &p->n_queue) &&
              config_count("embeddings", &embeddings);
    p->embeddings = embeddings != 0;
    const char *name = config_get("pooling");
    for (int i = 0; name && i < 4; i++)
        if (strcmp(name, pooling[i]) == 0)
            p->pooling = (enum llama_pooling_type)i;
    if (name && p->pooling == LLAMA_POOLING_TYPE_UNSPECIFIED) {
        kprintf("[llm] pooling=%s: choose none, mean, cls or last\n", name);
        ok = false;
    }
    return ok;
}

/* Where the machine is too small, the reader should learn what helps. */
static void advise_memory(void)
{
    const struct arena *region = model_region();
    size_t n = strlen(load_error);
    if (strncmp(load_error, "no memory", 9) && strncmp(load_error, "no room", 7))
        return;
    snprintf(load_error + n, sizeof load_error - n,
             "; beside the model's file %u KiB are free: give the machine more memory "
             "(make run MEM=, QEMU -m)", (unsigned)((region->cap - region->used) >> 10));
}

void llm_init(void)
{
    const uint8_t *data;
    size_t size;
    struct llm_params p;
    uint64_t t0 = time_us();
    llm_load_error = load_error;
    if (!find_model(&data, &size)) {
        snprintf(load_error, sizeof load_error,
                 "no model: give a GGUF as Multiboot module, or bake one into the ELF");
    } else if (!read_params(&p)) {
        snprintf(load_error, sizeof load_error,
                 "the configuration was refused: see the boot log");
    } else if (llm_load(&kernel_llm, data, size, &p, model_region(), time_us, load_error,
                        sizeof load_error)) {
        const struct llama_model *m = kernel_llm.model;
        uint32_t types = 1u << GGML_TYPE_F32;
        struct gguf_tensor t;
        for (int i = 0; gguf_tensor_at(&kernel_llm.gguf, i, &t); i++)
            types |= (uint32_t)t.type < 32 ? 1u << t.type : 0;
        quants_boot(types); // chapter 11: measure the dot products, keep the fastest
        kernel_llm.entropy = (uint32_t)__builtin_ia32_rdtsc() ^ (uint32_t)time_unix();
        llm_load_error = NULL;
        kprintf("[llm] %s %s, ctx %d, %d slots, ready in %u ms\n",
                m->name[0] ? m->name : "(unnamed)", m->desc, (int)kernel_llm.n_ctx_slot,
                (int)kernel_llm.n_slots, (unsigned)((time_us() - t0) / 1000));
    } else {
        advise_memory();
    }
    if (llm_load_error)
        kprintf("[llm] %s\n", llm_load_error);
}
INITCALL(90, llm_init);

bool llm_poll(void) { return llm_step(&kernel_llm); }
POLL(llm_poll);

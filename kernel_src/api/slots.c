/* slots.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § GET /slots ---- */

/* slots.c: GET /slots, and POST /slots/:id_slot to save, restore and erase.
 *
 * Keeps one record per slot of what it does or did last, filled in as llm.c's watcher.
 * Saved slots are in a slot_store, in memory that is set aside at boot. */
#include "api/completion.h"
#include "api/slot_store.h"
#include "api/state.h"
#include "base/config.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"

CONFIG_KEY(slots, "0: no GET /slots (default 1)");
CONFIG_KEY(slot_save, "MiB of memory for saved slots (default 0: none can be saved)");

static struct slot_record {
    bool used;                          // the slot has had a task
    bool has_new_line;
    uint32_t id_task;
    int32_t n_processed, n_cached, n_decoded;
    struct gen_params p;
} record[LLM_SLOTS_MAX];

static void record_params(struct gen_params *p, const struct llm_task *t)
{
    const struct completion *c = completion_of_task(t);
    memset(p, 0, sizeof *p);
    if (c)
        *p = c->p;
    p->sampling = t->sampling;
    p->n_predict = t->n_predict;
    p->ignore_eos = t->ignore_eos;
    p->n_stop = p->n_breakers = p->n_bias = 0;
    p->sampling.logit_bias = NULL;
    p->sampling.n_logit_bias = 0;
    p->sampling.dry_breakers = NULL;
    p->response_fields = NULL;
    p->constrain = NULL;
}

static void record_counts(struct slot_record *r, const struct llm_slot *s)
{
    r->n_processed = s->n_prompt_done - s->task->n_cached;
    r->n_cached = s->task->n_cached;
    r->n_decoded = s->task->n_decoded;
    r->has_new_line = s->task->has_new_line;
}

static void slots_watch(const struct llm *l, const struct llm_slot *s, bool begins)
{
    struct slot_record *r = &record[s - l->slot];
    if (begins) {
        r->used = true;
        r->id_task = s->task->id;
        record_params(&r->p, s->task);
    }
    record_counts(r, s);
}
LLM_WATCH(slots_watch);

static void put_next_token(struct json_writer *w, const struct slot_record *r, bool busy)
{
    jw_key(w, "next_token");
    jw_array(w);
    jw_object(w);
    jw_kbool(w, "has_next_token", busy);
    jw_kbool(w, "has_new_line", r->has_new_line);
    jw_kint(w, "n_remain", r->p.n_predict > 0 ? r->p.n_predict - r->n_decoded : -1);
    jw_kint(w, "n_decoded", r->n_decoded);
    jw_end(w);
    jw_end(w);
}

static void put_slot(struct json_writer *w, const struct llm_slot *s, int32_t id)
{
    struct slot_record *r = &record[id];
    if (s->task)
        record_counts(r, s);
    jw_object(w);
    jw_kint(w, "id", id);
    jw_kint(w, "n_ctx", kernel_llm.n_ctx_slot);
    jw_kbool(w, "speculative", false);
    jw_kbool(w, "is_processing", s->task != NULL);
    if (r->used) {
        jw_kint(w, "id_task", r->id_task);
        jw_kint(w, "n_prompt_tokens", s->n_past);
        jw_kint(w, "n_prompt_tokens_processed", r->n_processed);
        jw_kint(w, "n_prompt_tokens_cache", r->n_cached);
        jw_key(w, "params");
        gen_params_write(w, &r->p, true);
        put_next_token(w, r, s->task != NULL);
    }
    jw_end(w);
}

/* The value of `name` in a query, as long as it is up to the next '&'. NULL: absent. */
static const char *query_get(const char *query, const char *name, size_t *len)
{
    size_t n = strlen(name);
    for (const char *q = query; q; q = strchr(q, '&') ? strchr(q, '&') + 1 : NULL)
        if (strncmp(q, name, n) == 0 && q[n] == '=') {
            const char *end = strchr(q, '&');
            *len = end ? (size_t)(end - q) - n - 1 : strlen(q) - n - 1;
            return q + n + 1;
        }
    return NULL;
}

static void get_slots(struct http_conn *c, const struct http_request *req)
{
    const struct llm *l = &kernel_llm;
    struct json_writer w;
    size_t len = 0;
    if (!config_bool("slots", true)) {
        api_error(c, 501, "not_supported_error",
                  "This server does not support slots endpoint. Start it with `--slots`");
        return;
    }
    if (!api_has_model(c))
        return;
    if (query_get(req->query, "fail_on_no_slot", &len) && len &&
        llm_n_busy(l) == l->n_slots) {
        api_error(c, 503, "unavailable_error", "no slot available");
        return;
    }
    jw_init(&w, API_RESPONSE_MAX);
    jw_array(&w);
    for (int32_t i = 0; i < l->n_slots; i++)
        put_slot(&w, &l->slot[i], i);
    jw_end(&w);
    api_respond(c, 200, &w);
}
ROUTE("GET", "/slots", get_slots);

/* ---- nbs/api/31_slots.ipynb § Save, restore, erase ---- */

static struct slot_store store;

static void slots_init(void)
{
    long mib = 0;
    if (!config_int("slot_save", &mib) || mib == 0)
        return;
    size_t size = mib > 0 && mib <= (long)(HEAP_SIZE_MAX >> 20) ? (size_t)mib << 20 : 0;
    slot_store_init(&store, size ? arena_alloc(model_region(), size, 4096) : NULL, size);
    if (store.cap)
        kprintf("[api] %ld MiB for saved slots\n", mib);
    else
        kprintf("[api] slot_save=%ld: there is no such room; no slot can be saved\n",
                mib);
}
INITCALL(85, slots_init);

static uint64_t hash(uint64_t h, const void *p, size_t n)   /* FNV-1a, 64 bits */
{
    for (const uint8_t *b = p; n; n--)
        h = (h ^ *b++) * 0x100000001b3u;
    return h;
}

static uint64_t fingerprint(const struct llama_model *m)
{
    uint64_t h = hash(0xcbf29ce484222325u, &m->hparams, sizeof m->hparams);
    h = hash(h, m->name, strlen(m->name));
    h = hash(h, &m->n_params, sizeof m->n_params);
    return hash(h, &m->size, sizeof m->size);
}

static double since_ms(uint64_t t0) { return (double)(time_us() - t0) / 1e3; }

static void respond_action(struct http_conn *c, int32_t id, const struct slot_file *f,
                           bool save, double ms)
{
    struct json_writer w;
    size_t bytes = sizeof *f + f->n_tokens * sizeof(int32_t) + f->n_state;
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_kint(&w, "id_slot", id);
    jw_kcstr(&w, "filename", f->name);
    jw_kint(&w, save ? "n_saved" : "n_restored", f->n_tokens);
    jw_kint(&w, save ? "n_written" : "n_read", (int64_t)bytes);
    jw_key(&w, "timings");
    jw_object(&w);
    jw_kdouble(&w, save ? "save_ms" : "restore_ms", ms);
    jw_end(&w);
    jw_end(&w);
    api_respond(c, 200, &w);
}

static void slot_save(struct http_conn *c, int32_t id, const char *name)
{
    struct llm_slot *s = &kernel_llm.slot[id];
    const struct llama_kv_cache *kv = llama_get_memory(kernel_llm.ctx);
    uint64_t t0 = time_us();
    struct slot_file *f =
        slot_store_put(&store, name, (uint32_t)s->n_past,
                       (uint32_t)llama_state_seq_get_size(kv, id));
    if (!f) {
        api_error(c, 507, "server_error",
                  "Unable to save slot: %s (%u of %u KiB are in use, by %d states)",
                  store.n_files == SLOT_FILES_MAX ? "too many saved states" : "no room",
                  (unsigned)(store.heap.stats.used >> 10), (unsigned)(store.cap >> 10),
                  store.n_files);
        return;
    }
    f->model = fingerprint(kernel_llm.model);
    memcpy(f->tokens, s->tokens, f->n_tokens * sizeof *f->tokens);
    llama_state_seq_get_data(kv, id, f->state);
    respond_action(c, id, f, true, since_ms(t0));
}

static void slot_restore(struct http_conn *c, int32_t id, const char *name)
{
    struct llm_slot *s = &kernel_llm.slot[id];
    struct llama_kv_cache *kv = llama_get_memory(kernel_llm.ctx);
    const struct slot_file *f = slot_store_find(&store, name);
    uint64_t t0 = time_us();
    if (!f) {
        api_invalid(c, "Unable to restore slot: nothing is saved under this name");
    } else if (f->model != fingerprint(kernel_llm.model)) {
        api_invalid(c, "Unable to restore slot: it was saved with another model");
    } else if (f->n_tokens > (uint32_t)kernel_llm.n_ctx_slot ||
               !llama_state_seq_set_data(kv, id, f->state, f->n_state)) {
        api_invalid(c, "Restored prompt does not fit in the slot context");
    } else {
        memcpy(s->tokens, f->tokens, f->n_tokens * sizeof *f->tokens);
        s->n_past = (int32_t)f->n_tokens;
        s->last_used_us = time_us();
        respond_action(c, id, f, false, since_ms(t0));
    }
}

static void slot_erase(struct http_conn *c, int32_t id, const char *name)
{
    struct llm_slot *s = &kernel_llm.slot[id];
    struct slot_file *f = name ? slot_store_find(&store, name) : NULL;
    struct json_writer w;
    if (name && !f) {
        api_invalid(c, "Unable to erase: nothing is saved under this name");
        return;
    }
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_kint(&w, "id_slot", id);
    if (f)
        jw_kcstr(&w, "filename", f->name);
    jw_kint(&w, "n_erased", f ? (int64_t)f->n_tokens : s->n_past);
    jw_end(&w);
    if (f) {
        slot_store_drop(&store, f);
    } else {
        llama_kv_seq_rm(kernel_llm.ctx, id, -1, -1);
        s->n_past = 0;
    }
    api_respond(c, 200, &w);
}

/* The number behind "/slots/"; -1: no slot's. */
static int32_t slot_id(const char *path)
{
    const char *p = path + sizeof "/slots/" - 1;
    int32_t id = 0;
    for (; *p >= '0' && *p <= '9' && id < LLM_SLOTS_MAX; p++)
        id = 10 * id + (*p - '0');
    return *p || id >= kernel_llm.n_slots ? -1 : id;
}

/* false: has answered. *name stays in doc; NULL: the body names none. */
static bool read_name(struct http_conn *c, const struct http_request *req, bool needed,
                      struct json_doc *doc, const char **name)
{
    size_t len = 0;
    *name = NULL;
    doc->root = NULL;
    if (!needed && req->body_len == 0)
        return true;
    if (!api_body(c, req, doc))
        return false;
    enum json_field got = json_get_str(doc->root, "filename", name, &len);
    if (got == JSON_FIELD_ABSENT && !needed)
        return true;
    if (got == JSON_FIELD_OK && slot_store_is_name(*name, len))
        return true;
    api_invalid(c, got == JSON_FIELD_ABSENT ? "\"filename\" is required"
                                            : "Invalid filename");
    json_free(doc);
    return false;
}

static void post_slot(struct http_conn *c, const struct http_request *req)
{
    static const struct {
        const char *name;
        void (*run)(struct http_conn *c, int32_t id, const char *file);
    } actions[] = { { "save", slot_save }, { "restore", slot_restore },
                    { "erase", slot_erase } };
    struct json_doc doc;
    const char *name;
    size_t len = 0;
    if (!store.cap) {
        api_error(c, 501, "not_supported_error",
                  "This server does not support slots action. Start it with "
                  "`--slot-save-path`");
        return;
    }
    if (!api_has_model(c))
        return;
    int32_t id = slot_id(req->path), a = 0;
    const char *action = query_get(req->query, "action", &len);
    while (a < 3 && action &&
           (strlen(actions[a].name) != len || memcmp(actions[a].name, action, len) != 0))
        a++;
    if (id < 0)
        api_invalid(c, "Invalid slot ID");
    else if (!action || a == 3)
        api_invalid(c, "Invalid action");
    else if (kernel_llm.slot[id].task)
        api_error(c, 503, "unavailable_error", "slot %d is busy", (int)id);
    else if (read_name(c, req, a < 2, &doc, &name)) {
        actions[a].run(c, id, name);
        json_free(&doc);
    }
}
ROUTE("POST", "/slots/:id_slot", post_slot);

/* ops.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § Metrics ---- */

/* ops.c: GET /metrics, POST /props, and what /props says of both. */
#include "api/api.h"
#include "api/metrics.h"
#include "base/config.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/time.h"

CONFIG_KEY(metrics, "1: serve GET /metrics (default 0)");
CONFIG_KEY(props, "1: POST /props answers (default 0)");

#define METRICS_MAX 6144                // bytes of the page

static double seconds(uint64_t us) { return (double)us / 1e6; }

static double rate(uint64_t n, uint64_t us) { return us ? (double)n / seconds(us) : 0; }

static bool put_counters(char *buf, size_t *len, const struct llm_stats *st)
{
    const struct metric m[] = {
        { "prompt_tokens_total",
          "Number of prompt tokens processed, excluding cached tokens",
          (double)st->n_prompt_tokens },
        { "prompt_tokens_cached_total", "Number of prompt tokens reused from the cache",
          (double)st->n_cached_tokens },
        { "prompt_seconds_total", "Total time spent processing prompts",
          seconds(st->prompt_us) },
        { "tokens_predicted_total", "Number of generation tokens processed",
          (double)st->n_predicted },
        { "tokens_predicted_seconds_total", "Total time spent generating tokens",
          seconds(st->predicted_us) },
        { "n_decode_total", "Total number of llama_decode() calls",
          (double)st->n_decode },
        { "n_tokens_max", "Largest observed sequence length (prompt + generation)",
          st->n_tokens_max },
        { "spec_decode_num_draft_tokens_total",
          "Speculative: Total draft tokens generated", 0 },
        { "spec_decode_num_accepted_tokens_total",
          "Speculative: Total draft tokens accepted by the target model", 0 },
        { "spec_decode_num_drafts_total",
          "Speculative: Total speculative decoding verification steps", 0 },
    };
    return metrics_write(buf, METRICS_MAX, len, "counter", m, sizeof m / sizeof *m);
}

static bool put_gauges(char *buf, size_t *len, const struct llm_stats *st)
{
    static struct llm_stats last;       // as of the last look
    const struct metric m[] = {
        { "prompt_tokens_seconds", "Average prompt throughput in tokens/s",
          rate(st->n_prompt_tokens - last.n_prompt_tokens,
               st->prompt_us - last.prompt_us) },
        { "predicted_tokens_seconds", "Average generation throughput in tokens/s",
          rate(st->n_predicted - last.n_predicted,
               st->predicted_us - last.predicted_us) },
        { "requests_processing", "Number of requests processing",
          llm_n_busy(&kernel_llm) },
        { "requests_deferred", "Number of requests deferred", kernel_llm.n_queued },
        { "n_busy_slots_per_decode",
          "Average number of busy slots per llama_decode() call",
          st->n_decode ? (double)st->n_busy_slots / (double)st->n_decode : 0 },
    };
    last = *st;
    return metrics_write(buf, METRICS_MAX, len, "gauge", m, sizeof m / sizeof *m);
}

static void get_metrics(struct http_conn *c, const struct http_request *req)
{
    char started[24];
    size_t len = 0;
    (void)req;
    if (!config_bool("metrics", false)) {
        api_error(c, 501, "not_supported_error",
                  "This server does not support metrics endpoint. Start it with "
                  "`--metrics`");
        return;
    }
    if (!api_has_model(c))
        return;
    char *page = kmalloc(METRICS_MAX);
    struct llm_stats st = llm_stats_now(&kernel_llm);
    if (!page || !put_counters(page, &len, &st) || !put_gauges(page, &len, &st)) {
        kfree(page);
        api_no_memory(c);
        return;
    }
    snprintf(started, sizeof started, "%lld",
             (long long)(time_unix() - (int64_t)(time_us() / 1000000)));
    http_set_header(c, "Process-Start-Time-Unix", started);
    http_respond_take(c, 200, "text/plain; version=0.0.4", page, len);
}
ROUTE("GET", "/metrics", get_metrics);

static void post_props(struct http_conn *c, const struct http_request *req)
{
    static const char yes[] = "{\"success\":true}";
    (void)req;
    if (config_bool("props", false))
        http_respond(c, 200, "application/json; charset=utf-8", yes, sizeof yes - 1);
    else
        api_error(c, 501, "not_supported_error",
                  "This server does not support changing global properties. Start it "
                  "with `--props`");
}
ROUTE("POST", "/props", post_props);

static void put_props(struct json_writer *w)
{
    jw_kbool(w, "endpoint_slots", config_bool("slots", true));
    jw_kbool(w, "endpoint_props", config_bool("props", false));
    jw_kbool(w, "endpoint_metrics", config_bool("metrics", false));
    jw_kbool(w, "is_sleeping", false);
    jw_kbool(w, "cors_proxy_enabled", false);
}
PROPS(put_props);

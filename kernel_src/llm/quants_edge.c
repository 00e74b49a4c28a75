/* quants_edge.c: tangled from nbs/llm/11_quants.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/11_quants.ipynb § The kernel's edge ---- */

/* quants_edge.c: asks CPU, clock and configuration which dot products to use.
 * The model loader calls quants_boot() with the types that a model contains. */
#include "llm/quants.h"
#include "base/config.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/time.h"

CONFIG_KEY(vec_dot, "dot product variant by name (sse2, avx, fma, swar); else measured");

static void quants_hello(void)
{
    char brand[49], features[64];
    cpu_brand(brand);
    cpu_features_str(cpu_features(), features, sizeof features);
    kprintf("[cpu] %s: %s\n", brand, features);
}
INITCALL(57, quants_hello);

static void quants_boot_type(enum ggml_type type, const char *pin, uint32_t features)
{
    const char *name = ggml_type_name(type);
    if (pin && quants_pin(type, features, pin)) {
        kprintf("[quants] %s: %s (pinned)\n", name, pin);
        return;
    }
    const struct vec_dot_variant *best =
        quants_select(type, features, time_us, QUANTS_BUDGET_US);
    int n;
    const struct vec_dot_variant *all = quants_variants(&n);
    kprintf("[quants] %s: %s", name, best->name);
    if (best->mac_per_us > 0)
        kprintf(" %u MAC/us", (unsigned)best->mac_per_us);
    else
        kprintf(" (the only candidate)");
    for (int i = 0; i < n; i++)
        if (all[i].type == type && &all[i] != best && all[i].mac_per_us > 0)
            kprintf(", %s %u", all[i].name, (unsigned)all[i].mac_per_us);
        else if (all[i].type == type && all[i].role == QUANTS_OTHER_BITS &&
                 (all[i].needs & ~features) == 0)
            kprintf(", %s only by name", all[i].name);
    kprintf("%s\n", pin ? " (it has no variant of the pinned name)" : "");
}

void quants_boot(uint32_t types)
{
    const char *pin = config_get("vec_dot");
    uint32_t features = cpu_features();
    for (int type = 0; type < 32; type++)
        if (types >> type & 1 && ggml_get_type_traits(type)->gemv)
            quants_boot_type(type, pin, features);
}

/* config_boot.c: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § Options ---- */

/* base/config_boot.c: the edge of config.c: reads the Multiboot command line at boot. */
#include "base/bootinfo.h"
#include "base/config.h"

CONFIG_KEY(log, "how much to print: 0 quiet, 1 a line a layer (default), 2 more");

static void config_init(void) { config_read(boot_info.cmdline); }
INITCALL(32, config_init);

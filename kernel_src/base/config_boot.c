/* config_boot.c: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § Options ---- */

/* base/config_boot.c: the edge of config.c: reads the Multiboot command line at boot. */
#include "base/bootinfo.h"
#include "base/config.h"

static void config_init(void) { config_read(boot_info.cmdline); }
INITCALL(32, config_init);

/* terminal_edge.c: tangled from nbs/llm/23_terminal.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/23_terminal.ipynb § At boot ---- */

/* terminal_edge.c: the terminal on the machine's console: the serial line, and the
 * screen with the keyboard. Without a model there is none. */
#include "base/config.h"
#include "base/console.h"
#include "base/irq.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "llm/terminal.h"

#define TERMINAL_QUIET_MS 3000         // after the boot; then its log is complete

CONFIG_KEY(terminal, "0: no prompt on the console (default 1)");

static struct terminal terminal;

static void terminal_log(bool begins)
{
    enum { EFLAGS_IF = 1 << 9 };
    uint32_t flags;
    __asm__ volatile("pushfl; pop %0" : "=r"(flags));
    if (flags & EFLAGS_IF)
        terminal_aside(&terminal, begins);
}

static void terminal_start(void)
{
    if (!config_bool("terminal", true) || !kernel_llm.model)
        return;
    enum llm_chat_template tmpl = llama_chat_choose_template(
        config_get("chat_template"), kernel_llm.chat_template, LLM_CHAT_TEMPLATE_UNKNOWN);
    terminal_init(&terminal, &kernel_llm, tmpl, console_write);
    kprintf_around = terminal_log;
}
INITCALL(95, terminal_start);

static int terminal_getc(void)
{
    static uint32_t seen;
    static bool more;
    uint32_t count = irq_count;
    int c = more || count != seen ? console_getc() : -1;
    seen = count;
    more = c >= 0;
    return c;
}

static bool terminal_step(void)
{
    if (!terminal.llm)
        return false;
    if (!terminal.shown && time_ms() >= TERMINAL_QUIET_MS)
        terminal_show(&terminal);
    return terminal_poll(&terminal, terminal_getc());
}
POLL(terminal_step);

/* chat.c: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § From messages to a prompt ---- */

/* chat.c: see chat.h. A family is a row of the table, or a function of its own where the
 * order of messages matters (llama 2, mistral, gemma). */
#include "base/string.h"
#include "llm/chat.h"

struct wrap { const char *before, *after; };
static const struct family {
    enum llm_chat_template id;
    const char *name;
    struct wrap system, user, assistant;      // \1: the role's name
    const char *start;                        // invites the assistant to speak
    bool trim;                                // white space round the content is dropped
} families[] = {
    { LLM_CHAT_TEMPLATE_CHATML,
      "chatml",
      { "<|im_start|>\1\n", "<|im_end|>\n" },
      { "<|im_start|>\1\n", "<|im_end|>\n" },
      { "<|im_start|>\1\n", "<|im_end|>\n" },
      "<|im_start|>assistant\n",
      false },
    { LLM_CHAT_TEMPLATE_LLAMA_3,
      "llama3",
      { "<|start_header_id|>\1<|end_header_id|>\n\n", "<|eot_id|>" },
      { "<|start_header_id|>\1<|end_header_id|>\n\n", "<|eot_id|>" },
      { "<|start_header_id|>\1<|end_header_id|>\n\n", "<|eot_id|>" },
      "<|start_header_id|>assistant<|end_header_id|>\n\n",
      true },
    { LLM_CHAT_TEMPLATE_PHI_3,
      "phi3",
      { "<|\1|>\n", "<|end|>\n" },
      { "<|\1|>\n", "<|end|>\n" },
      { "<|\1|>\n", "<|end|>\n" },
      "<|assistant|>\n",
      false },
    { LLM_CHAT_TEMPLATE_PHI_4,
      "phi4",
      { "<|im_start|>\1<|im_sep|>", "<|im_end|>" },
      { "<|im_start|>\1<|im_sep|>", "<|im_end|>" },
      { "<|im_start|>\1<|im_sep|>", "<|im_end|>" },
      "<|im_start|>assistant<|im_sep|>",
      false },
    { LLM_CHAT_TEMPLATE_ZEPHYR,
      "zephyr",
      { "<|\1|>\n", "<|endoftext|>\n" },
      { "<|\1|>\n", "<|endoftext|>\n" },
      { "<|\1|>\n", "<|endoftext|>\n" },
      "<|assistant|>\n",
      false },
    { LLM_CHAT_TEMPLATE_VICUNA,
      "vicuna",
      { "", "\n\n" },
      { "USER: ", "\n" },
      { "ASSISTANT: ", "</s>\n" },
      "ASSISTANT:",
      false },
    { LLM_CHAT_TEMPLATE_DEEPSEEK,
      "deepseek3",
      { "", "\n\n" },
      { "<｜User｜>", "" },
      { "<｜Assistant｜>", "<｜end▁of▁sentence｜>" },
      "<｜Assistant｜>",
      false },
    { LLM_CHAT_TEMPLATE_COMMAND_R,
      "command-r",
      { "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>" },
      { "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>" },
      { "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>" },
      "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
      true },
    { LLM_CHAT_TEMPLATE_GRANITE,
      "granite",
      { "<|start_of_role|>\1<|end_of_role|>", "<|end_of_text|>\n" },
      { "<|start_of_role|>\1<|end_of_role|>", "<|end_of_text|>\n" },
      { "<|start_of_role|>\1<|end_of_role|>", "<|end_of_text|>\n" },
      "<|start_of_role|>assistant<|end_of_role|>",
      false },
    { LLM_CHAT_TEMPLATE_GEMMA,
      "gemma",
      { 0 },
      { 0 },
      { 0 },
      "<start_of_turn>model\n",
      true },
    { LLM_CHAT_TEMPLATE_LLAMA_2, "llama2", { 0 }, { 0 }, { 0 }, "", true },
    { LLM_CHAT_TEMPLATE_LLAMA_2_SYS, "llama2-sys", { 0 }, { 0 }, { 0 }, "", true },
    { LLM_CHAT_TEMPLATE_MISTRAL_V1, "mistral-v1", { 0 }, { 0 }, { 0 }, "", false },
    { LLM_CHAT_TEMPLATE_MISTRAL_V3, "mistral-v3", { 0 }, { 0 }, { 0 }, "", false },
    { LLM_CHAT_TEMPLATE_MISTRAL_V7,
      "mistral-v7",
      { "[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]" },
      { "[INST] ", "[/INST]" },
      { " ", "</s>" },
      "",
      false },
};

static const struct family *family_of(enum llm_chat_template t)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (families[i].id == t)
            return &families[i];
    return NULL;
}

const char *llm_chat_template_name(enum llm_chat_template t)
{
    const struct family *f = family_of(t);
    return f ? f->name : "unknown";
}

enum llm_chat_template llama_chat_detect_template(const char *tmpl)
{
    static const struct { const char *a, *b; enum llm_chat_template t; } signs[] = {
        { "<|im_sep|>", "<|im_start|>", LLM_CHAT_TEMPLATE_PHI_4 },
        { "<|im_start|>", "", LLM_CHAT_TEMPLATE_CHATML },
        { "[SYSTEM_PROMPT]", "[INST]", LLM_CHAT_TEMPLATE_MISTRAL_V7 },
        { "' [INST] ' + system_message", "", LLM_CHAT_TEMPLATE_MISTRAL_V1 },
        { "[AVAILABLE_TOOLS]", "[INST]", LLM_CHAT_TEMPLATE_MISTRAL_V3 },
        { "<<SYS>>", "[INST]", LLM_CHAT_TEMPLATE_LLAMA_2_SYS },
        { "[INST]", "", LLM_CHAT_TEMPLATE_LLAMA_2 },
        { "<|assistant|>", "<|end|>", LLM_CHAT_TEMPLATE_PHI_3 },
        { "<|user|>", "<|endoftext|>", LLM_CHAT_TEMPLATE_ZEPHYR },
        { "<start_of_turn>", "", LLM_CHAT_TEMPLATE_GEMMA },
        { "<|start_header_id|>", "<|end_header_id|>", LLM_CHAT_TEMPLATE_LLAMA_3 },
        { "<｜Assistant｜>", "<｜User｜>", LLM_CHAT_TEMPLATE_DEEPSEEK },
        { "<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", LLM_CHAT_TEMPLATE_COMMAND_R },
        { "<|start_of_role|>", "", LLM_CHAT_TEMPLATE_GRANITE },
        { "USER: ", "ASSISTANT: ", LLM_CHAT_TEMPLATE_VICUNA },
    };
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (strstr(tmpl, signs[i].a) && strstr(tmpl, signs[i].b))
            return signs[i].t;
    return LLM_CHAT_TEMPLATE_UNKNOWN;
}

enum llm_chat_template llama_chat_choose_template(const char *name, const char *tmpl,
                                                  enum llm_chat_template otherwise)
{
    for (size_t i = 0; name && i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].name, name) == 0)
            return families[i].id;
    return tmpl ? llama_chat_detect_template(tmpl) : otherwise;
}

struct out { char *buf; size_t cap, n; };

static void put_n(struct out *o, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++, o->n++)
        if (o->n + 1 < o->cap)
            o->buf[o->n] = s[i];
}

static void put(struct out *o, const char *s) { put_n(o, s, strlen(s)); }

static void put_wrap(struct out *o, const char *s, const char *role)
{
    for (; *s; s++)
        if (*s == '\1')
            put(o, role);
        else
            put_n(o, s, 1);
}

static void put_content(struct out *o, const char *s, bool trim)
{
    size_t len = strlen(s);
    while (trim && len && isspace((unsigned char)s[len - 1]))
        len--;
    while (trim && len && isspace((unsigned char)*s))
        s++, len--;
    put_n(o, s, len);
}

static void put_gemma(struct out *o, const struct llama_chat_message *m, size_t n)
{
    const char *system = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(m[i].role, "system") == 0) {
            system = m[i].content;
            continue;
        }
        bool model = strcmp(m[i].role, "assistant") == 0;
        put(o, "<start_of_turn>");
        put(o, model ? "model" : m[i].role);
        put(o, "\n");
        if (system && !model) {
            put_content(o, system, true);
            put(o, "\n\n");
            system = NULL;
        }
        put_content(o, m[i].content, true);
        put(o, "<end_of_turn>\n");
    }
}

static void put_turns(struct out *o, enum llm_chat_template t,
                      const struct llama_chat_message *m, size_t n)
{
    bool llama = t == LLM_CHAT_TEMPLATE_LLAMA_2 || t == LLM_CHAT_TEMPLATE_LLAMA_2_SYS,
         open = false;
    bool v1 = t == LLM_CHAT_TEMPLATE_MISTRAL_V1;
    for (size_t i = 0; i < n; i++) {
        bool system = strcmp(m[i].role, "system") == 0,
             user = strcmp(m[i].role, "user") == 0;
        if (!open && (system || user))
            put(o, v1 ? " [INST] " : llama && i ? "<s>[INST] " : "[INST] ");
        open = system || user;
        if (system && t == LLM_CHAT_TEMPLATE_LLAMA_2_SYS) {
            put(o, "<<SYS>>\n");
            put_content(o, m[i].content, true);
            put(o, "\n<</SYS>>\n\n");
        } else if (system) {
            put_content(o, m[i].content, llama);
            put(o, llama ? "\n" : "\n\n");
        } else if (user) {
            put_content(o, m[i].content, llama);
            put(o, llama || v1 ? " [/INST]" : "[/INST]");
            open = false;
        } else {
            put(o, llama ? "" : " ");
            put_content(o, m[i].content, llama || !v1);
            put(o, "</s>");
        }
    }
}

size_t llama_chat_apply_template(enum llm_chat_template t,
                                 const struct llama_chat_message *msgs, size_t n_msgs,
                                 bool add_ass, char *buf, size_t cap)
{
    struct out o = { buf, cap, 0 };
    const struct family *f = family_of(t);
    if (!f)
        return 0;
    if (t == LLM_CHAT_TEMPLATE_GEMMA) {
        put_gemma(&o, msgs, n_msgs);
    } else if (!f->user.before) {
        put_turns(&o, t, msgs, n_msgs);
    } else {
        for (size_t i = 0; i < n_msgs; i++) {
            const struct wrap *w = strcmp(msgs[i].role, "system") == 0 ? &f->system
                                   : strcmp(msgs[i].role, "assistant") == 0
                                       ? &f->assistant
                                       : &f->user;
            put_wrap(&o, w->before, msgs[i].role);
            put_content(&o, msgs[i].content, f->trim);
            put_wrap(&o, w->after, msgs[i].role);
        }
    }
    if (add_ass)
        put(&o, f->start);
    if (cap)
        buf[o.n < cap ? o.n : cap - 1] = 0;
    return o.n;
}

/* grammar.h: tangled from nbs/llm/24_grammar.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/24_grammar.ipynb § What is kept where ---- */

/* grammar.h: which text may follow, by a grammar in GBNF, llama.cpp's notation.
 *
 * grammar   rules as a graph of nodes; constant after grammar_parse, may be shared
 * matcher   the place of one text in a grammar: a set of stacks, made on demand and
 *           remembered (a lazy automaton) in a block of fixed size
 * vocab     a model's pieces in alphabetical order, for judging all of them at once
 * Text is bytes; a UTF-8 character may be split between pieces. No recursion. Grammar
 * and matcher are kmalloc'ed, the vocab stands in an arena. Pure. Called by llm.c. */
// twin: grammar.c memory.c
#pragma once
#include "base/memory.h"
#include "llm/sampler.h"
#include "llm/tokenizer.h"

#define GRAMMAR_TEXT_MAX    (256u << 10)  // bytes of GBNF
#define GRAMMAR_RULES_MAX   2048
#define GRAMMAR_NODES_MAX   16384         // about one for each symbol or character
#define GRAMMAR_RANGES_MAX  16384         // in character classes
#define GRAMMAR_DEPTH_MAX   128           // groups inside each other
#define GRAMMAR_REPEAT_MAX  1000000u      // in {m,n}
#define GRAMMAR_ERROR_MAX   200

#define GRAMMAR_CELLS_MAX   4096          // parts of stacks in one matcher
#define GRAMMAR_ENTRIES_MAX 4096          // tops of stacks in all its states
#define GRAMMAR_STATES_MAX  512
#define GRAMMAR_MEMO_SIZE   4096          // remembered steps
#define GRAMMAR_PIECE_MAX   512           // a longer piece is never allowed
#define GRAMMAR_WORK_MAX    (8u << 20)    // node visits in one grammar_mask

enum grammar_result {
    GRAMMAR_OK,
    GRAMMAR_BAD,         // not GBNF, or rules that cannot work: the error says where
    GRAMMAR_TOO_BIG,     // above one of the limits
    GRAMMAR_NO_MEMORY,
};

enum grammar_op {
    GRAMMAR_END,         // of a rule: pop the CALL that led here
    GRAMMAR_NOP,
    GRAMMAR_ALT,         // either next, or alt
    GRAMMAR_CALL,        // a: the rule's first node; comes back to next
    GRAMMAR_REP,         // alt: body; a, b: how often; then next
    GRAMMAR_AGAIN,       // alt: the REP whose body ends here
    GRAMMAR_CHAR,        // a..b, code points
    GRAMMAR_CLASS,       // a: first of b ranges, sorted, apart from each other
    GRAMMAR_TOKEN,       // a: the id; flag: any other token than that
};
#define GRAMMAR_INFINITE UINT32_MAX

struct grammar_node {
    uint8_t op;
    bool flag;           // REP: the body may be empty. TOKEN: negated
    uint16_t next, alt;  // 0 (the END node): none
    uint32_t a, b;
};
struct grammar_range { uint32_t lo, hi; };

struct grammar {
    struct grammar_node *node;            // (n_nodes), node[0] is END
    struct grammar_range *range;
    uint32_t n_nodes, n_ranges, n_rules;
    uint16_t root;
    uint32_t work;       // nodes looked at while the rules were checked
};

struct grammar_error { uint32_t line, column; char text[GRAMMAR_ERROR_MAX]; };

#define GRAMMAR_FIND_FAILED (-2)          // there was no memory to look

/* Asked for <text>: the token with exactly this text, LLAMA_TOKEN_NULL, or the above. */
typedef int32_t (*grammar_find_token)(const void *ctx, const char *text, size_t len);

enum grammar_result grammar_parse(struct grammar *g, const char *text, size_t len,
                                  grammar_find_token find, const void *ctx,
                                  struct grammar_error *err);
void grammar_free(struct grammar *g);

/* ---- nbs/llm/24_grammar.ipynb § A set of stacks ---- */

struct grammar_cell {
    uint16_t node, parent, link, epoch;    // link: next in its bucket
    uint32_t count;
};
struct grammar_state {
    uint16_t first, n, link;               // tops of stacks: entry[first, first + n)
    uint8_t need, total;                   // inside a UTF-8 character: bytes to come, of
    uint32_t value;                        // its bits so far
};
struct grammar_step { uint16_t from, to; uint8_t byte, used; };

struct grammar_matcher {
    const struct grammar *g;
    uint16_t state;                        // where the text stands
    uint16_t epoch;                        // of the closure being computed
    uint32_t n_cells, n_entries, n_states, n_pending;
    struct grammar_cell cell[GRAMMAR_CELLS_MAX];      // cell[0]: below the bottom
    struct grammar_state states[GRAMMAR_STATES_MAX];  // states[0]: nothing matches
    uint16_t entry[GRAMMAR_ENTRIES_MAX];
    uint16_t pending[GRAMMAR_CELLS_MAX];
    uint16_t cell_bucket[1024], state_bucket[256];
    struct grammar_step memo[GRAMMAR_MEMO_SIZE];
    bool full;                             // an array ran out during this step
    struct {
        uint64_t steps, hits, work;        // bytes followed; remembered; nodes visited
        uint32_t flushes, refused;         // clearings; steps for want of room refused
    } stats;
};

/* *m: at the beginning of a text. GRAMMAR_TOO_BIG: even there the grammar has more
 * readings than a matcher can hold. g must outlive the matcher. */
enum grammar_result grammar_init(struct grammar_matcher **m, const struct grammar *g);
struct grammar_matcher *grammar_clone(const struct grammar_matcher *m);  // NULL: memory
void grammar_release(struct grammar_matcher *m);

/* Follow `len` bytes of text. false: they do not fit, and nothing has changed. */
bool grammar_accept(struct grammar_matcher *m, const char *text, size_t len);
bool grammar_complete(const struct grammar_matcher *m);   // the text may end here

/* ---- nbs/llm/24_grammar.ipynb § A vocabulary in alphabetical order ---- */

struct grammar_piece { const char *text; uint32_t len; int32_t id; };

struct grammar_vocab {
    int32_t n_tokens, n_pieces;
    struct grammar_piece *piece;           // (n_pieces) with text, in order after _sort
    uint16_t *shared;                      // (n_pieces) bytes shared with the one before
    int32_t *rank;                         // (n_tokens) place in piece[]; -1: has no text
    uint32_t *eog, *allowed;               // (n_tokens) bits; allowed: scratch
};

/* Memory for n tokens; then _add each that has text or ends generation, then _sort. The
 * texts must outlive the vocab. false: the arena is full. */
bool grammar_vocab_init(struct grammar_vocab *v, struct arena *a, int32_t n_tokens);
void grammar_vocab_add(struct grammar_vocab *v, int32_t id, const char *text,
                       size_t len, bool eog);
void grammar_vocab_sort(struct grammar_vocab *v);

/* All three at once, from a model's vocabulary; the texts are copied into the arena. */
bool grammar_vocab_load(struct grammar_vocab *v, const struct llama_vocab *from,
                        struct arena *a);

/* May this token come now? _accept_token also moves on if so. An end-of-generation token
 * may come when the text is complete. */
bool grammar_allows(struct grammar_matcher *m, const struct grammar_vocab *v, int32_t id);
bool grammar_accept_token(struct grammar_matcher *m, const struct grammar_vocab *v,
                          int32_t id);

/* Set the logit of every candidate that may not come to -INFINITY. Returns how many may;
 * -1: it took more than GRAMMAR_WORK_MAX, and all may not. */
int32_t grammar_mask(struct grammar_matcher *m, const struct grammar_vocab *v,
                     struct llama_token_data *cand, int32_t n);

/*
 * show.h - what an answer looks like: lines for a person, a table, or one JSON
 * object per line; and the summary at the end. `kerf run` and `kerf edge` show
 * the same.
 * Threads: one owner.
 */
#ifndef KERF_CLI_SHOW_H
#define KERF_CLI_SHOW_H

#include "base/stats.h"
#include "cli/opts.h"
#include "cli/term.h"
#include "kerf/engine.h"
#include "kerf/stage.h"

#define KERF_SHOW_VALUES_MAX 1000 /* elements of an output in JSON */

typedef enum kerf_show_mode {
    KERF_SHOW_LINES = 0,
    KERF_SHOW_TABLE,
    KERF_SHOW_JSON,
} kerf_show_mode;

typedef enum kerf_truth {
    KERF_TRUTH_NONE = 0,
    KERF_TRUTH_NAME,   /* file name up to its first '_' */
    KERF_TRUTH_FOLDER, /* name of the parent folder */
} kerf_truth;

typedef struct kerf_answer {
    uint64_t index;
    const char *input; /* path or name; need not be safe to print */
    kerf_err err;      /* not KERF_OK: no outputs, and why */
    const char *why;
    const kerf_card *card;  /* NULL: raw outputs */
    const kerf_tensor *out; /* borrowed */
    const kerf_port *port;  /* names of the outputs; NULL: none */
    size_t out_count;
    kerf_stages stages;
    bool late;         /* after its deadline */
    bool earlier;      /* index is of an earlier run, that queued it */
    size_t bytes_sent; /* 0: nothing was sent */
    /* What crossed, before and after the codec; NULL: raw. */
    size_t tensor_bytes, coded_bytes;
    const char *codec;
    const char *via; /* "cloud", "local", "queued"; NULL: it was no question */
} kerf_answer;

/* One of the best classes of an answer. */
typedef struct kerf_top {
    size_t index;
    double score; /* a probability when the scores can be read as such */
} kerf_top;

typedef struct kerf_show {
    /* Set by kerf_show_opt rows: */
    bool json, table;
    bool quiet; /* no line per answer, only what fails and the summary */
    int top_k;
    int truth;      /* kerf_truth */
    bool has_top_k; /* --top-k was there */
    /* Set by kerf_show_init: */
    kerf_show_mode mode;
    kerf_term term;
    kerf_stats total_us, split_us;      /* split: without capture, preprocess */
    uint64_t first_ns, last_ns;         /* when answers were shown */
    double stage_sum[KERF_STAGE_COUNT]; /* ns */
    uint64_t answered, failed, skipped, judged, right, bytes_sent;
    uint64_t tensor_bytes, coded_bytes;
    uint64_t local, late;  /* of those answered: not by the cloud; from disk */
    uint64_t queued, left; /* put on disk; still there at the end */
    bool has_via;
    uint64_t started_ns;
    bool has_header;
    /* Decided at the first answer with this card. */
    const kerf_card *softmax_card;
    bool softmax, softmax_known;
    bool labels_checked; /* against the number of classes */
    int name_columns;
} kerf_show;

/* Rows for an option table. */
#define KERF_SHOW_ROWS(show)                                            \
    {.name = "top-k",                                                   \
     .also = "top",                                                     \
     .kind = KERF_OPT_INT,                                              \
     .to = &(show)->top_k,                                              \
     .given = &(show)->has_top_k,                                       \
     .min = 1,                                                          \
     .max = 1000,                                                       \
     .help = "classes shown per answer"},                               \
        {.name = "truth",                                               \
         .kind = KERF_OPT_CHOICE,                                       \
         .to = &(show)->truth,                                          \
         .choices = "none|name|folder",                                 \
         .help = "right label: file name up to '_', or parent folder"}, \
        {.name = "table",                                               \
         .kind = KERF_OPT_FLAG,                                         \
         .to = &(show)->table,                                          \
         .help = "one row per answer with the times by stage"},         \
        {.name = "quiet",                                               \
         .kind = KERF_OPT_FLAG,                                         \
         .to = &(show)->quiet,                                          \
         .help = "no line per answer, only the summary"},               \
    {                                                                   \
        .name = "json", .kind = KERF_OPT_FLAG, .to = &(show)->json,     \
        .help = "one JSON object per line on stdout, logs on stderr"    \
    }

/* Before parsing: top_k 3. */
#define KERF_SHOW_DEFAULTS \
    {                      \
        .top_k = 3         \
    }

/* After parsing. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_show_init(kerf_show *show);
void kerf_show_fini(kerf_show *show);

void kerf_show_answer(kerf_show *show, const kerf_answer *answer);
/* An input that could not be read. */
void kerf_show_skipped(kerf_show *show, uint64_t index, const char *input,
                       const char *why);
/* A request that went to disk: its answer comes later. */
void kerf_show_queued(kerf_show *show, uint64_t index, const char *input);
/* N of N answered, right ones, p50 and p99, bytes, shares of the stages. */
void kerf_show_summary(kerf_show *show);

/* Do these scores need a softmax to be probabilities? As the card says, else
 * they do when they do not add up to 1. */
bool kerf_show_wants_softmax(const kerf_card *card, const kerf_tensor *scores);

/* The best k classes of a [1, n] or [n] score tensor, best first, at most
 * `most`; NaN comes last. Returns how many. */
size_t kerf_show_top(bool softmax, const kerf_tensor *scores, kerf_top *top,
                     size_t most);

/* "cat", or the index when there is no label; into out[cap]. Returns out. */
char *kerf_show_label(char *out, size_t cap, const kerf_card *card,
                      size_t index);

/* Is output 0 of this answer a score per class? */
bool kerf_show_is_classes(const kerf_answer *answer);

/* The reference's "[3]" or "[3, 5]": argmax of each batch row of a tensor;
 * NaN is never the greatest: "[nan]" when there is nothing else. */
char *kerf_show_argmax(char *out, size_t cap, const kerf_tensor *t);

#endif

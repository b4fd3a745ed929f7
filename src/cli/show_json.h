/*
 * show_json.h - the JSON side of show.c. Threads: one.
 */
#ifndef KERF_CLI_SHOW_JSON_H
#define KERF_CLI_SHOW_JSON_H

#include "cli/show.h"

/* What is known of an answer beside its outputs. */
typedef struct kerf_judged {
    kerf_top top[1000];
    size_t top_count;
    char truth[256];
    bool has_truth, right;
} kerf_judged;

typedef struct kerf_values {
    double min, max, mean, std; /* of finite elements; NaN: there are none */
    size_t min_at, max_at;      /* where the first two are */
    size_t good, odd;           /* elements that are finite, and not */
} kerf_values;

void kerf_values_of(kerf_values *v, const kerf_tensor *t);

void kerf_show_json_answer(const kerf_answer *answer, const kerf_judged *j);
void kerf_show_json_error(const char *event, uint64_t index, const char *input,
                          const char *why, bool earlier);
void kerf_show_json_summary(kerf_show *show);

#endif

/*
 * compare.h - how far two answers of the same network are apart.
 *
 * Numbers are compared in place, or, for detections, as a set of rows: whoever
 * sorts boxes by score may swap two that score the same.
 * Threads: pure.
 */
#ifndef KERF_CUT_COMPARE_H
#define KERF_CUT_COMPARE_H

#include "kerf/tensor.h"

typedef struct kerf_diff {
    bool bit_equal; /* every byte; of rows: each has one that is the same */
    double abs;     /* greatest difference of two elements */
    double rel;     /* the same, in parts of the range */
} kerf_diff;

/* The least and the greatest of the finite elements of an output, over as many
 * answers as were added: what the network says to one input may be next to
 * nothing. */
typedef struct kerf_span {
    bool any;
    double least, most;
} kerf_span;

void kerf_span_add(kerf_span *span, const kerf_tensor *t);
/* The range that differences are a part of: most - least, but not less than the
 * greatest of their absolute values, so that an output that is nearly constant
 * is not judged by its noise. */
double kerf_span_range(const kerf_span *span);

/*
 * Compares got with want. as_rows: when they are not within tolerance (parts of
 * the range) in place, along the first dim as a set. Elements that are not
 * finite must be of the same kind (NaN, +Inf, -Inf). A difference of integers
 * counts as all of the range: they are not measured but chosen.
 * Errors: KERF_EMISMATCH (dtype, shape, number of rows, a kind: *why says which
 * element), KERF_ENOMEM. *diff is untouched on error.
 */
KERF_NODISCARD kerf_err kerf_compare(const kerf_tensor *want,
                                     const kerf_tensor *got, bool as_rows,
                                     double range, double tolerance,
                                     kerf_diff *diff, kerf_detail *why);

#define KERF_COMPARE_ROWS_MAX 16384 /* more are compared in place alone */

#endif

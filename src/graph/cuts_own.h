/*
 * cuts_own.h - what the list of cuts and named cuts share. Only for src/graph/.
 */
#ifndef KERF_GRAPH_CUTS_OWN_H
#define KERF_GRAPH_CUTS_OWN_H

#include "graph/cuts.h"

/* Elements of a parameter; 0 for what has no data. */
uint64_t kerf_param_count(const kerf_value *v);
/* qsort() of values, by definition. */
int kerf_value_compare(const void *a, const void *b);

#endif

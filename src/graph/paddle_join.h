/*
 * paddle_join.h - what the names of two programs become when they are joined.
 * Only for src/graph/paddle_join*.c.
 */
#ifndef KERF_GRAPH_PADDLE_JOIN_H
#define KERF_GRAPH_PADDLE_JOIN_H

#include "graph/paddle_own.h"

/* What a name of the tail is to the joined program. */
typedef enum kerf_join_role {
    KERF_JOIN_NONE = 0, /* not needed */
    KERF_JOIN_NODE,     /* some op of it gives it */
    KERF_JOIN_BLANK,
    KERF_JOIN_PARAM,
    KERF_JOIN_EXTRA, /* an input of the whole */
    KERF_JOIN_BOUND, /* an output of the head */
} kerf_join_role;

typedef struct kerf_join_name {
    kerf_join_role role;
    bool is_inner;  /* blocks use it: cannot be changed */
    bool is_output; /* of the tail: is changed only if it must */
    bool is_shared; /* it is the head's, and declared there */
    uint32_t port;  /* KERF_JOIN_BOUND: the head's output */
    char *new;      /* owned; NULL: it stays */
} kerf_join_name;

typedef struct kerf_pd_join {
    const kerf_graph *head, *tail;
    kerf_pd_plan h, t;
    kerf_join_name
        *name;        /* [tail->value_count]: by the first value of a name */
    bool *head_has;   /* [head->value_count]: that name, by its first value */
    bool *has_blocks; /* of the tail's ops */
    bool *is_dropped; /* [tail->node_count]: the head has that op */
    kerf_detail *why;
} kerf_pd_join;

/* Fills name, head_has and is_dropped, which the caller made and zeroed, from
 * the plans. Errors: KERF_EMISMATCH (names a tensor), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pd_join_names(kerf_pd_join *j);

/* What a name of the tail becomes; NULL: it stays. As kerf_pd_edit.rename; ctx
 * is the join. */
const char *kerf_pd_join_rename(const void *ctx, const char *name);

#endif

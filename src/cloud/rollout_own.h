/*
 * rollout_own.h - the inside of a rollout, shared by rollout.c and
 * rollout_json.c only.
 */
#ifndef KERF_CLOUD_ROLLOUT_OWN_H
#define KERF_CLOUD_ROLLOUT_OWN_H

#include "cloud/rollout.h"

struct kerf_trial {
    kerf_trial *next;
    kerf_knot knot;
    kerf_trial_state state;
    bool crashed;       /* perhaps: it left as one that crashes does */
    unsigned returns;   /* without the new bundle after that, in a row */
    uint64_t bad, good; /* requests of the new bundle */
    char edge[KERF_NAME_MAX];
};

/* NULL: no memory, or too many. */
kerf_trial *kerf_rollout_add(kerf_rollout *r, const char *edge,
                             kerf_trial_state state);

#endif

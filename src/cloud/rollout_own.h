/*
 * rollout_own.h - the inside of a rollout, shared by rollout.c,
 * rollout_trials.c and rollout_json.c only.
 */
#ifndef KERF_CLOUD_ROLLOUT_OWN_H
#define KERF_CLOUD_ROLLOUT_OWN_H

#include "cloud/rollout.h"

struct kerf_trial {
    kerf_trial *prev, *next; /* of its list */
    kerf_knot knot;
    kerf_trial_state state;
    bool away;
    bool blocked;
    uint64_t left_ns;
    bool crashed;       /* perhaps: it left as one that crashes does */
    unsigned returns;   /* after a crash; since it last left well */
    uint64_t bad, good; /* requests of the new bundle */
    char edge[KERF_NAME_MAX];
};

kerf_trial *kerf_trial_find(const kerf_rollout *r, const char *edge);
void kerf_trial_set(kerf_rollout *r, kerf_trial *t, kerf_trial_state state);
void kerf_trial_move(kerf_rollout *r, kerf_trial *t, bool away,
                     uint64_t now_ns);
void kerf_trial_forget(kerf_rollout *r, kerf_trial *t);
/* What may be forgotten first, or NULL. */
kerf_trial *kerf_trial_longest_away(const kerf_rollout *r);
/* NULL: no memory, or too many. */
kerf_trial *kerf_rollout_add(kerf_rollout *r, const char *edge,
                             kerf_trial_state state);

#endif

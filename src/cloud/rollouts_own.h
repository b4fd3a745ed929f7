/*
 * rollouts_own.h - the inside of a cloud's rollouts, shared by rollouts*.c
 * only.
 */
#ifndef KERF_CLOUD_ROLLOUTS_OWN_H
#define KERF_CLOUD_ROLLOUTS_OWN_H

#include "cloud/rollouts.h"

#include <pthread.h>

#define KERF_ROLLOUTS_BY_COMMAND "by command" /* why it was halted */

struct kerf_rollouts {
    kerf_rollouts_opts opts;
    /* By the same index as list; changed by the loop, under lock. now NULL:
     * its files are gone. */
    kerf_served *old[KERF_MODELS_MAX], *now[KERF_MODELS_MAX]; /* counted */
    /* There is an old one, that cannot be loaded: who would be given it is
     * given nothing. old is NULL then. */
    bool lost[KERF_MODELS_MAX];
    _Atomic size_t open; /* so many have an old one, lost or not */
    /* Under the lock: since a command, edges were not offered what they get
     * now. Those that failed are forgotten then, so that nobody seems to need
     * the old ones. */
    bool untold;

    pthread_mutex_t lock;
    kerf_rollout *list[KERF_MODELS_MAX]; /* under lock; grown by the loop */
    size_t count;

    struct {
        char name[KERF_NAME_MAX];
        uint8_t id[KERF_ROLLOUT_ID];
    } kept[KERF_MODELS_MAX]; /* the loader's: of each model the latest */
    size_t kept_count, kept_next;

    int lock_fd; /* of the folder; -1: none */
    pthread_t keeper;
    bool keeper_runs;
    pthread_cond_t changed;   /* there is something to write, or to know */
    uint64_t wanted, written; /* under lock: versions of the state */
    kerf_err write_err;       /* of the last write, which is tried again */
    kerf_detail write_why;
    int64_t took_ns; /* the keeper's: to make the last text */
    bool is_urgent;  /* a command, or it halted */
    bool stopping;
    bool stirs; /* under lock: what edges get may be another one */

    struct told *told, *told_last; /* under lock, in order */
    bool tells;                    /* under lock: a thread is at it */
};

/* An event that is due when the lock is free. */
struct told {
    struct told *next;
    kerf_rollout_view view;
};

/* Under the lock, or on the loop's thread: the index, or count. */
size_t kerf_rollouts_find(const kerf_rollouts *r, const char *name);
/* Under the lock: whether edges are given the one or the other. A model whose
 * files are gone, or of which only the kept pair serves, has a state, too. */
bool kerf_rollouts_is_open(const kerf_rollouts *r, size_t i);
/* Whether all are given the new one and none has failed: the old one of what
 * comes next. */
bool kerf_rollouts_new_is_well(const kerf_rollout *one);
void kerf_rollouts_view_of(kerf_rollout_view *v, const kerf_rollouts *r,
                           const kerf_rollout *one);
/* Under the lock. */
void kerf_rollouts_want_write(kerf_rollouts *r);
void kerf_rollouts_tell(kerf_rollouts *r, const kerf_rollout *one);
/* Drops the lock; then has edges offered what they get now, and what is due is
 * told, in order, by this thread or by one that tells already. */
void kerf_rollouts_unlock(kerf_rollouts *r);

/* rollouts_keep.c: reads what is kept, and starts the thread that writes. */
KERF_NODISCARD kerf_err kerf_rollouts_start_keeper(kerf_rollouts *r,
                                                   kerf_detail *why);

#endif

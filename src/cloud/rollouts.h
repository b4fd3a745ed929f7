/*
 * rollouts.h - the rollouts of all models of a cloud (rollout.h): the old
 * bundles that are kept beside the new ones, and what outlives the cloud.
 *
 *     DIR/state.json     who was offered what, and how it went
 *     DIR/pairs/ID/      the files of the pairs that state.json names
 *
 * A model whose pair is removed stays in state.json, so that what comes under
 * its name does not go past a rollout; of KERF_MODELS_MAX names in all.
 * Memory: one old bundle of each model, as long as its rollout is open.
 * Threads: as said for each; the lists are under a lock, what is served is the
 * loop's. A thread of its own writes state.json.
 */
#ifndef KERF_CLOUD_ROLLOUTS_H
#define KERF_CLOUD_ROLLOUTS_H

#include "cloud/rollout.h"
#include "cloud/served.h"
#include "kerf/cloud.h"
#include "proto/frame.h"

typedef struct kerf_rollouts kerf_rollouts;

typedef struct kerf_rollouts_opts {
    double percent;   /* of a new rollout */
    double halt;      /* percent; under 0: never by itself */
    uint64_t wait_ns; /* for an edge that is away before it said how it went */
    uint64_t soak_ns; /* that the old one is kept when all run the new one */
    const char *dir;  /* NULL: nothing is kept */
    void *ctx;
    /* Something changed that edges must be told. Any thread. */
    void (*stirred)(void *ctx);
    void (*event)(void *ctx, const kerf_rollout_view *view); /* any thread */
} kerf_rollouts_opts;

/* Reads what is kept; what cannot be read is an error, not a new start: it may
 * say that a bundle must not run. */
KERF_NODISCARD kerf_err kerf_rollouts_new(kerf_rollouts **out,
                                          const kerf_rollouts_opts *opts,
                                          kerf_detail *why);
/* Writes what is not yet written. False: the disk hangs, and a thread waits for
 * it yet: then r must stay. Before kerf_rollouts_free(); accepts NULL. */
bool kerf_rollouts_stop(kerf_rollouts *r);
void kerf_rollouts_free(kerf_rollouts *r); /* accepts NULL */

/* The loader's thread. */

/* Keeps a copy of a pair whose parts are all in memory. newest_ns: as
 * kerf_pair_stamp() says. */
void kerf_rollouts_keep(kerf_rollouts *r, const kerf_pair *pair,
                        int64_t newest_ns);
/* The folder of the pair that served before the one with this id, when a
 * rollout of an earlier run is open, or the pair changed since; also when it
 * was removed meanwhile. id NULL: of the one that served last. False: there is
 * none. */
bool kerf_rollouts_before(kerf_rollouts *r, const char *name, const char *id,
                          char dir[KERF_PATH_MAX]);
/* The folder of the old one that serves beside the newest, and its signature;
 * false: there is none, or it is not kept. */
bool kerf_rollouts_kept(kerf_rollouts *r, const char *name,
                        char dir[KERF_PATH_MAX], kerf_signed *sig);

/* The loop's thread. */

/* old, which is of the same files as the old one, takes its place; also where
 * that was lost. */
void kerf_rollouts_signed_again(kerf_rollouts *r, kerf_served *old);
/* s took the place of old; either may be NULL. Where old is NULL though another
 * one ran before s, that one cannot be loaded. */
void kerf_rollouts_changed(kerf_rollouts *r, kerf_served *s, kerf_served *old);
/* What this edge is given of the model that s is the newest of. Borrowed. NULL:
 * nothing, since the old one is lost. */
kerf_served *kerf_rollouts_for(kerf_rollouts *r, kerf_served *s,
                               const char *edge);
/* Whether s is what some edges are given. */
bool kerf_rollouts_needs(kerf_rollouts *r, const kerf_served *s);
/* The old one of s, or NULL. Borrowed. */
kerf_served *kerf_rollouts_old(kerf_rollouts *r, const kerf_served *s);
/* The new one of the model, when s is its old one and the edge failed on the
 * new one; NULL: not so. Borrowed. */
kerf_served *kerf_rollouts_failed(kerf_rollouts *r, const kerf_served *s,
                                  const char *edge);
/* It is given s to run, not only to keep. */
void kerf_rollouts_offer(kerf_rollouts *r, const kerf_served *s,
                         const char *edge);
void kerf_rollouts_ready(kerf_rollouts *r, const kerf_served *s,
                         const char *edge, kerf_err err, const char *why);
/* Its session ended, or it is given another model; s: what it was given to run,
 * which how is of; NULL: nothing. */
void kerf_rollouts_left(kerf_rollouts *r, const kerf_served *s,
                        const char *edge, kerf_leave how);
/* It connects, is about to be given this model, and says what it runs. */
void kerf_rollouts_came(kerf_rollouts *r, const char *model, const char *edge,
                        const kerf_hello *hello);
bool kerf_rollouts_any_open(kerf_rollouts *r);
/* Every edge is offered what it gets now, from here on; kerf_rollouts_settle()
 * ends nothing if a command comes meanwhile. */
void kerf_rollouts_telling(kerf_rollouts *r);
/* Waits no more for edges that are away for long, and lets go of the old ones
 * that nobody needs any more. */
void kerf_rollouts_settle(kerf_rollouts *r);

/* Any thread. */

void kerf_rollouts_request(kerf_rollouts *r, const kerf_served *s,
                           const char *edge, bool failed);
/* As kerf_cloud_rollouts(). */
KERF_NODISCARD kerf_err kerf_rollouts_look(kerf_rollouts *r, const char *model,
                                           kerf_rollout_view **out,
                                           size_t *count, kerf_detail *why);
/* As kerf_cloud_rollout(). */
KERF_NODISCARD kerf_err kerf_rollouts_command(kerf_rollouts *r,
                                              const char *model,
                                              kerf_rollout_command what,
                                              double percent, kerf_detail *why);

#endif

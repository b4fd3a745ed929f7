/*
 * rollout.h - which edges get the new bundle of a model, and how it does there.
 *
 *                 too many fail, or halt
 *      RUNNING ----------------------------> HALTED     new edges get the old,
 *       | ^  ^------- resume, NN% -------------|        those well keep the new
 *       | +---------- resume, NN% ----------.  | back
 *       |  back                              \ v
 *       +-----------------------------------> BACK      all get the old
 *       |
 *       +--> OVER   at 100 %: all that were given it run it; or finish
 *
 * An edge is chosen by a hash of its name and the bundle, so the same edges are
 * at 10 %, and more join them at 20 %. One that fails on the new bundle gets
 * the old one from then on. Buffers only: what is served is the caller's
 * (rollouts.h). Threads: one owner, or a lock of his.
 */
#ifndef KERF_CLOUD_ROLLOUT_H
#define KERF_CLOUD_ROLLOUT_H

#include "base/table.h"
#include "kerf/err.h"
#include "kerf/limits.h"

#include <stdbool.h>

#define KERF_ROLLOUT_ID 32         /* bytes of a bundle's id */
#define KERF_ROLLOUT_EDGES 100000u /* that one rollout keeps count of */
#define KERF_ROLLOUT_LEAST 3u      /* judged edges, before it halts by itself */
#define KERF_ROLLOUT_WHY 256

typedef enum kerf_rollout_state {
    KERF_ROLLOUT_OVER = 0, /* there is no new one */
    KERF_ROLLOUT_RUNNING,
    KERF_ROLLOUT_HALTED,
    KERF_ROLLOUT_BACK,
} kerf_rollout_state;

typedef enum kerf_trial_state {
    KERF_TRIAL_NONE = 0,
    KERF_TRIAL_OFFERED, /* it may be loading it, or already use it */
    KERF_TRIAL_WELL,
    KERF_TRIAL_FAILED,
} kerf_trial_state;

/* How the session of an edge ended that was given the new bundle. */
typedef enum kerf_leave {
    KERF_LEFT_MIDWAY = 0, /* nothing follows: it was receiving, for one */
    KERF_LEFT_WELL,       /* with BYE, or after it ran it for a while */
    KERF_LEFT_SOON,       /* after LOADING, or soon after READY */
} kerf_leave;

/* What an edge says as it connects. Neither of the last two: it does not say.
 */
enum {
    KERF_CAME_NEW = 1,   /* it runs the new bundle */
    KERF_CAME_OLD = 2,   /* it runs the old one */
    KERF_CAME_FIRST = 4, /* it was started anew */
    KERF_CAME_AGAIN = 8, /* it was not: its session ended, and it went on */
};

typedef struct kerf_trial kerf_trial; /* of an edge */

typedef struct kerf_trials {
    kerf_trial *first, *last;
} kerf_trials;

enum {
    KERF_TRIALS_HERE,      /* connected; or failed, wherever they are */
    KERF_TRIALS_AWAY,      /* before they said how it went; longest first */
    KERF_TRIALS_WELL_AWAY, /* they run it; longest first */
    KERF_TRIALS_LISTS
};

typedef struct kerf_rollout {
    char name[KERF_NAME_MAX]; /* of the model */
    uint8_t old_id[KERF_ROLLOUT_ID], new_id[KERF_ROLLOUT_ID];
    kerf_rollout_state state;
    bool was_signed; /* the new one has been seen with a signature */
    double percent;
    double halt; /* percent of judged edges that may fail; under 0: all */
    char why[KERF_ROLLOUT_WHY];   /* of HALTED and BACK; safe to print */
    uint64_t quiet_ns;            /* since when all is well; 0: it is not */
    size_t offered, well, failed; /* edges in each state now */
    size_t blocked;               /* of offered: for a reason of their own */
    char blocked_why[KERF_ROLLOUT_WHY]; /* of the last; safe to print */
    kerf_table *table;                  /* of trials; NULL: none yet */
    kerf_trials trials[KERF_TRIALS_LISTS];
    size_t count;
} kerf_rollout;

/* Zeroed but for the name; over. */
void kerf_rollout_init(kerf_rollout *r, const char *name);
void kerf_rollout_fini(kerf_rollout *r); /* over; accepts a zeroed one */

/* A new bundle came; what was known of another one is forgotten. */
void kerf_rollout_start(kerf_rollout *r, const uint8_t old_id[KERF_ROLLOUT_ID],
                        const uint8_t new_id[KERF_ROLLOUT_ID], double percent);
/* The new one is the only one now: old_id is its. */
void kerf_rollout_finish(kerf_rollout *r);
/* Whether nobody may need the old one any more: all that were given the new one
 * run it, and for soak_ns since that was so first none has failed. */
bool kerf_rollout_is_done(kerf_rollout *r, uint64_t now_ns, uint64_t soak_ns);

/* 0 to 100: from which percentage on the edge is chosen. */
double kerf_rollout_place(const uint8_t id[KERF_ROLLOUT_ID], const char *edge);
bool kerf_rollout_gets_new(const kerf_rollout *r, const char *edge);
kerf_trial_state kerf_rollout_trial(const kerf_rollout *r, const char *edge);

/* What became of it. edge: any text of under KERF_NAME_MAX. Each returns
 * whether anything changed that edges must be told, or that must be kept. */

/* False: no more edges are kept count of, this one must not have it. */
bool kerf_rollout_offer(kerf_rollout *r, const char *edge);
bool kerf_rollout_ready(kerf_rollout *r, const char *edge, bool well,
                        const char *why);
/*
 * Its session ended; then it connects, and says what it runs, and perhaps
 * whether it was started anew (says: KERF_CAME_*). What crashes because of the
 * new bundle does so while it loads it, or soon after READY, at its first
 * inputs. So to go LEFT_SOON and to come back started anew is perhaps a crash;
 * of one that does not say, to come back running nothing. Three are a failure,
 * unless LEFT_WELL came between. One that was only cut off, or comes back with
 * the old one, as from another cloud, has not crashed; but that says nothing of
 * the times before, either.
 * left: also when it is given another model. If it is away already, no matter.
 */
void kerf_rollout_left(kerf_rollout *r, const char *edge, kerf_leave how,
                       uint64_t now_ns);
bool kerf_rollout_came(kerf_rollout *r, const char *edge, unsigned says);
/* It cannot for now, for which the bundle is not to blame; it tries again. */
void kerf_rollout_blocked(kerf_rollout *r, const char *edge, const char *why);
/* Nobody is connected: it was read from a file. */
void kerf_rollout_all_away(kerf_rollout *r, uint64_t now_ns);
/* Waits no more for edges that went so long ago, before they said how it went.
 * (Those that failed need the old one.) Where there is no room for another one,
 * those go that went longest ago. Whether there were any. */
bool kerf_rollout_forget(kerf_rollout *r, uint64_t now_ns, uint64_t after_ns);
/* A request of the new bundle was answered, or has failed for its sake. */
bool kerf_rollout_request(kerf_rollout *r, const char *edge, bool failed);

/* Commands. Errors: KERF_EINVAL (no rollout, or it makes no sense now). */
KERF_NODISCARD kerf_err kerf_rollout_set(kerf_rollout *r, double percent,
                                         kerf_detail *why);
KERF_NODISCARD kerf_err kerf_rollout_halt(kerf_rollout *r, const char *text,
                                          kerf_detail *why);
KERF_NODISCARD kerf_err kerf_rollout_resume(kerf_rollout *r, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_rollout_back(kerf_rollout *r, kerf_detail *why);
/* For all: who is away, or failed, is waited for no more. As
 * kerf_rollout_finish(), only while it runs at 100 %. */
KERF_NODISCARD kerf_err kerf_rollout_end(kerf_rollout *r, kerf_detail *why);

const char *kerf_rollout_state_name(kerf_rollout_state state);

/* "10%", "12.5 %" or "10" into *out. False: no percentage from least to 100. */
bool kerf_rollout_percent(const char *text, double least, double *out);

/* A copy for kerf_rollout_format() alone, which takes long of many edges, for
 * use without the lock. NULL: no memory. Free: free(). */
kerf_rollout *kerf_rollout_copy(const kerf_rollout *r);
/* The state of several, as a file keeps it. New JSON text -> free(). */
KERF_NODISCARD kerf_err kerf_rollout_format(const kerf_rollout *const *list,
                                            size_t count, char **out);
/* From a file that may be anything: at most `most` of them into list, each new
 * on the heap -> kerf_rollout_fini(), free(). halt is not in it. Errors:
 * KERF_ECORRUPT, KERF_EVERSION, KERF_ENOMEM; then *count is 0. */
KERF_NODISCARD kerf_err kerf_rollout_parse(kerf_rollout **list, size_t most,
                                           size_t *count, const void *json,
                                           size_t len, kerf_detail *why);

#endif

/* Looking at rollouts, and telling them what to do: from any thread. */
#include "cloud/rollouts_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEP_S 2 /* a disk that hangs must not hold up who asks */

kerf_err
kerf_rollouts_look(kerf_rollouts *r, const char *model, kerf_rollout_view **out,
                   size_t *count, kerf_detail *why)
{
    kerf_rollout_view *views;
    bool known = model == NULL;
    size_t n = 0;

    (void)pthread_mutex_lock(&r->lock);
    views = calloc(r->count + 1, sizeof *views);
    for (size_t i = 0; views != NULL && i < r->count; i++) {
        bool open = kerf_rollouts_is_open(r, i);

        if (model != NULL && strcmp(r->list[i]->name, model) != 0)
            continue;
        known |= open || r->now[i] != NULL;
        if (open)
            kerf_rollouts_view_of(&views[n++], r, r->list[i]);
    }
    kerf_rollouts_unlock(r);
    if (views == NULL)
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    if (!known) {
        free(views);
        return kerf_fail(why, KERF_ENOENT, "no model %s is served", model);
    }
    *out = views;
    *count = n;
    return KERF_OK;
}

/* Under the lock: the one that is meant, or NULL. */
static kerf_rollout *
meant(const kerf_rollouts *r, const char *model, kerf_detail *why)
{
    kerf_rollout *found = NULL;
    size_t i;

    if (model != NULL) {
        i = kerf_rollouts_find(r, model);
        if (i < r->count && kerf_rollouts_is_open(r, i))
            return r->list[i];
        (void)kerf_fail(why, KERF_ENOENT,
                        i < r->count && r->now[i] != NULL
                            ? "model %s is not being rolled out: every edge is "
                              "given the same bundle"
                            : "no model %s is served",
                        model);
        return NULL;
    }
    for (i = 0; i < r->count; i++) {
        if (!kerf_rollouts_is_open(r, i))
            continue;
        if (found != NULL) {
            (void)kerf_fail(why, KERF_ENOENT,
                            "several models are being rolled out, %s and %s: "
                            "say which one (--model)",
                            found->name, r->list[i]->name);
            return NULL;
        }
        found = r->list[i];
    }
    if (found == NULL)
        (void)kerf_fail(why, KERF_ENOENT,
                        "nothing is being rolled out: every edge is given the "
                        "same bundle");
    return found;
}

static kerf_err
execute(kerf_rollout *one, kerf_rollout_command what, double percent,
        kerf_detail *why)
{
    switch (what) {
    case KERF_ROLLOUT_SET:
        return kerf_rollout_set(one, percent, why);
    case KERF_ROLLOUT_HALT:
        return kerf_rollout_halt(one, KERF_ROLLOUTS_BY_COMMAND, why);
    case KERF_ROLLOUT_RESUME:
        return kerf_rollout_resume(one, why);
    case KERF_ROLLOUT_GO_BACK:
        return kerf_rollout_back(one, why);
    case KERF_ROLLOUT_FINISH:
        return kerf_rollout_end(one, why); /* the loop lets go of the old one */
    }
    return KERF_EINVAL;
}

/* Under the lock, which it drops: until this version of the state is kept, or
 * cannot be. */
static kerf_err
wait_for_write(kerf_rollouts *r, uint64_t version, kerf_detail *why)
{
    struct timespec until;
    bool hangs = false;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += KEEP_S;
    while (r->keeper_runs && r->written < version && !hangs)
        hangs = pthread_cond_timedwait(&r->changed, &r->lock, &until) ==
                    ETIMEDOUT &&
                r->written < version;
    if (!hangs && r->write_err == KERF_OK)
        return KERF_OK;
    return kerf_fail(why, hangs ? KERF_EDEADLINE : r->write_err,
                     "done, but it cannot be kept, so that a restart of the "
                     "cloud would undo it; it is tried again each second: %s",
                     hangs ? "the disk of --rollout-dir does not answer"
                           : r->write_why.text);
}

kerf_err
kerf_rollouts_command(kerf_rollouts *r, const char *model,
                      kerf_rollout_command what, double percent,
                      kerf_detail *why)
{
    kerf_rollout *one;
    uint64_t version = 0;
    kerf_err err = KERF_ENOENT;

    (void)pthread_mutex_lock(&r->lock);
    one = meant(r, model, why);
    if (one != NULL)
        err = execute(one, what, percent, why);
    if (err == KERF_OK) {
        kerf_rollouts_tell(r, one);
        r->untold = r->is_urgent = true;
        r->stirs = true; /* edges do not wait for the disk */
        kerf_rollouts_want_write(r);
        version = r->wanted;
    }
    kerf_rollouts_unlock(r);
    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&r->lock);
    err = wait_for_write(r, version, why);
    (void)pthread_mutex_unlock(&r->lock);
    return err;
}

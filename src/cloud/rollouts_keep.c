/*
 * What outlives the cloud: a thread writes the state of rollouts, the loader
 * keeps a copy of each pair.
 */
#include "cloud/rollouts_own.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cloud/rollouts_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAP_NS INT64_C(200000000) /* between writes that nobody waits for */
#define LEAVE_MS 5000 /* a disk that hangs is waited for, at the end */
#define NAP_SHARE 4   /* of the time that the text takes */
#define AGAIN_NS INT64_C(1000000000) /* after one that failed */

/* Under the lock, which it drops while it writes. */
static void
write_state(kerf_rollouts *r)
{
    uint64_t version = r->wanted;
    uint64_t since_ns = kerf_now_ns();
    kerf_detail why = {{0}};
    kerf_rollout *copy[KERF_MODELS_MAX];
    char *text = NULL;
    size_t count = r->count;
    int64_t took_ns;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < count; i++) {
        copy[i] = kerf_rollout_copy(r->list[i]);
        if (copy[i] == NULL)
            err = KERF_ENOMEM;
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (err == KERF_OK)
        err = kerf_rollout_format((const kerf_rollout *const *)copy, count,
                                  &text);
    took_ns = (int64_t)(kerf_now_ns() - since_ns); /* not the disk */
    if (err == KERF_OK)
        err = kerf_rollouts_write(r->opts.dir, text, &why);
    free(text);
    for (size_t i = 0; i < count; i++)
        free(copy[i]);
    (void)pthread_mutex_lock(&r->lock);
    r->took_ns = took_ns;
    if (err != KERF_OK && r->write_err == KERF_OK)
        kerf_log(KERF_LOG_WARN, "cloud.rollout_not_kept", "why=%s",
                 KERF_Q(why.text));
    else if (err == KERF_OK && r->write_err != KERF_OK)
        kerf_log(KERF_LOG_WARN, "cloud.rollout_kept", "after=%s",
                 KERF_Q(r->write_why.text));
    r->write_err = err;
    r->write_why = why;
    r->written = version;
    (void)pthread_cond_broadcast(&r->changed);
}

/* Under the lock, which it drops. */
static void
nap(kerf_rollouts *r)
{
    int64_t ns = r->write_err == KERF_OK ? NAP_NS : AGAIN_NS;
    struct timespec until;

    if (ns < NAP_SHARE * r->took_ns)
        ns = NAP_SHARE * r->took_ns;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ns;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!r->is_urgent && !r->stopping &&
           pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
        continue;
    r->is_urgent = false;
}

static void *
run_keeper(void *ctx)
{
    kerf_rollouts *r = ctx;

    kerf_thread_begin("kerf-keeper");
    (void)pthread_mutex_lock(&r->lock);
    while (!r->stopping || r->written != r->wanted) {
        if (r->written == r->wanted && r->write_err == KERF_OK) {
            (void)pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        write_state(r);
        nap(r);
    }
    if (r->write_err != KERF_OK)
        write_state(r); /* for the last time */
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Reads what is kept, and starts the thread. */
kerf_err
kerf_rollouts_start_keeper(kerf_rollouts *r, kerf_detail *why)
{
    kerf_err err = kerf_rollouts_lock(r->opts.dir, &r->lock_fd, why);

    if (err == KERF_OK)
        err = kerf_rollouts_read(r->opts.dir, r->list, KERF_MODELS_MAX,
                                 &r->count, why);
    for (size_t i = 0; i < r->count; i++) {
        r->list[i]->halt = r->opts.halt;
        kerf_rollout_all_away(r->list[i], kerf_now_ns());
    }
    if (err != KERF_OK)
        return err;
    if (pthread_create(&r->keeper, NULL, run_keeper, r) != 0)
        return kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
    r->keeper_runs = true;
    return KERF_OK;
}

bool
kerf_rollouts_stop(kerf_rollouts *r)
{
    if (r == NULL || !r->keeper_runs)
        return true;
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    r->keeper_runs = !kerf_thread_join(r->keeper, LEAVE_MS);
    return !r->keeper_runs;
}

/* The loader's thread. */

/* That the model was read last: perhaps the loop has not heard of it yet. */
static void
note_kept(kerf_rollouts *r, const kerf_manifest *m)
{
    size_t i = 0;

    while (i < r->kept_count && strcmp(r->kept[i].name, m->name) != 0)
        i++;
    if (i == KERF_MODELS_MAX) /* so many are in a folder: one is gone */
        i = r->kept_next++ % KERF_MODELS_MAX;
    else if (i == r->kept_count)
        r->kept_count++;
    (void)snprintf(r->kept[i].name, sizeof r->kept[i].name, "%s", m->name);
    memcpy(r->kept[i].id, m->id, sizeof r->kept[i].id);
}

static void
remove_others(kerf_rollouts *r)
{
    uint8_t *ids = malloc((size_t)3 * KERF_MODELS_MAX * KERF_ROLLOUT_ID);
    size_t count = 0;

    if (ids == NULL)
        return; /* next time */
    (void)pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->count; i++) {
        memcpy(ids + count++ * KERF_ROLLOUT_ID, r->list[i]->old_id,
               KERF_ROLLOUT_ID);
        memcpy(ids + count++ * KERF_ROLLOUT_ID, r->list[i]->new_id,
               KERF_ROLLOUT_ID);
    }
    (void)pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->kept_count; i++)
        memcpy(ids + count++ * KERF_ROLLOUT_ID, r->kept[i].id, KERF_ROLLOUT_ID);
    kerf_rollouts_remove_others(r->opts.dir, ids, count);
    free(ids);
}

void
kerf_rollouts_keep(kerf_rollouts *r, const kerf_pair *pair, int64_t newest_ns)
{
    kerf_detail why = {{0}};

    if (r->opts.dir == NULL)
        return;
    note_kept(r, &pair->manifest);
    remove_others(r); /* first: there may be no room for both */
    if (kerf_rollouts_keep_pair(r->opts.dir, pair, newest_ns, &why) != KERF_OK)
        kerf_log(KERF_LOG_WARN, "cloud.pair_not_kept", "model=%s why=%s",
                 pair->manifest.name, KERF_Q(why.text));
}

bool
kerf_rollouts_before(kerf_rollouts *r, const char *name, const char *id,
                     char dir[KERF_PATH_MAX])
{
    char hex[KERF_SHA256_HEX] = "";
    char new_hex[KERF_SHA256_HEX];
    size_t i;

    if (r->opts.dir == NULL)
        return false;
    (void)pthread_mutex_lock(&r->lock);
    i = kerf_rollouts_find(r, name);
    if (i < r->count) {
        const kerf_rollout *one = r->list[i];

        kerf_hex(hex, one->old_id, KERF_ROLLOUT_ID);
        kerf_hex(new_hex, one->new_id, KERF_ROLLOUT_ID);
        if (kerf_rollouts_new_is_well(one) &&
            (id == NULL || strcmp(new_hex, id) != 0))
            memcpy(hex, new_hex, sizeof hex);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return hex[0] != '\0' && (id == NULL || strcmp(hex, id) != 0) &&
           kerf_rollouts_pair_dir(dir, r->opts.dir, hex) == KERF_OK;
}

bool
kerf_rollouts_kept(kerf_rollouts *r, const char *name, char dir[KERF_PATH_MAX],
                   kerf_signed *sig)
{
    const kerf_served *old = NULL;
    bool found;
    size_t i;

    (void)pthread_mutex_lock(&r->lock);
    i = kerf_rollouts_find(r, name);
    if (i < r->count && r->opts.dir != NULL)
        old = r->old[i];
    if (old != NULL)
        *sig = old->manifest.sig;
    found = old != NULL &&
            kerf_rollouts_pair_dir(dir, r->opts.dir, old->id) == KERF_OK;
    (void)pthread_mutex_unlock(&r->lock);
    return found;
}

#include "cloud/rollouts_own.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Finding. Under the lock, or on the loop's thread. */

size_t
kerf_rollouts_find(const kerf_rollouts *r, const char *name)
{
    size_t i = 0;

    while (i < r->count && strcmp(r->list[i]->name, name) != 0)
        i++;
    return i;
}

static bool
same_id(const kerf_served *s, const uint8_t *id)
{
    return memcmp(s->manifest.id, id, KERF_ROLLOUT_ID) == 0;
}

bool
kerf_rollouts_is_open(const kerf_rollouts *r, size_t i)
{
    return (r->old[i] != NULL || r->lost[i]) &&
           r->list[i]->state != KERF_ROLLOUT_OVER;
}

/* Writing. */

/* Under the lock. */
void
kerf_rollouts_want_write(kerf_rollouts *r)
{
    r->wanted++;
    (void)pthread_cond_broadcast(&r->changed);
}

/* Life. */

kerf_err
kerf_rollouts_new(kerf_rollouts **out, const kerf_rollouts_opts *opts,
                  kerf_detail *why)
{
    kerf_rollouts *r = calloc(1, sizeof *r);
    kerf_err err = KERF_OK;

    if (r == NULL)
        return KERF_ENOMEM;
    r->opts = *opts;
    r->lock_fd = -1;
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->changed, NULL);
    if (opts->dir != NULL)
        err = kerf_rollouts_start_keeper(r, why);
    if (err != KERF_OK) {
        kerf_rollouts_free(r);
        return err;
    }
    *out = r;
    return KERF_OK;
}

void
kerf_rollouts_free(kerf_rollouts *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++) {
        kerf_served_unref(r->old[i]);
        kerf_served_unref(r->now[i]);
        kerf_rollout_fini(r->list[i]);
        free(r->list[i]);
    }
    if (r->lock_fd >= 0)
        (void)close(r->lock_fd);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* The loop's thread. */

static void
set_served(kerf_served **at, kerf_served *s)
{
    kerf_served *was = *at;

    *at = s == NULL ? NULL : kerf_served_ref(s);
    kerf_served_unref(was);
}

/* old NULL: lost, or there is none. */
static void
set_old_or_lost(kerf_rollouts *r, size_t i, kerf_served *old, bool lost)
{
    bool had = r->old[i] != NULL || r->lost[i];

    set_served(&r->old[i], old);
    r->lost[i] = lost;
    if ((old != NULL || lost) && !had)
        (void)atomic_fetch_add(&r->open, 1);
    else if (old == NULL && !lost && had)
        (void)atomic_fetch_sub(&r->open, 1);
}

static void
set_old(kerf_rollouts *r, size_t i, kerf_served *old)
{
    set_old_or_lost(r, i, old, false);
}

/* The order, in state.json too: first those that are served no more, as they
 * went. Moves one that has no old one. */
static void
move(kerf_rollouts *r, size_t from, size_t to)
{
    kerf_rollout *one = r->list[from];
    kerf_served *now = r->now[from];
    size_t step = from < to ? 1 : (size_t)-1;

    for (size_t i = from; i != to; i += step) {
        r->list[i] = r->list[i + step];
        r->old[i] = r->old[i + step];
        r->now[i] = r->now[i + step];
        r->lost[i] = r->lost[i + step];
    }
    r->list[to] = one;
    r->now[to] = now;
    r->old[to] = NULL;
    r->lost[to] = false;
}

static void
remove_at(kerf_rollouts *r, size_t i)
{
    set_old(r, i, NULL);
    set_served(&r->now[i], NULL);
    kerf_rollout_fini(r->list[i]);
    free(r->list[i]);
    move(r, i, --r->count);
}

/* Of a model that is served no more, the longest: one that was not halted, if
 * there is. */
static void
forget_one(kerf_rollouts *r)
{
    size_t gone = r->count;

    for (size_t i = 0; i < r->count; i++) {
        bool is_over = r->list[i]->state == KERF_ROLLOUT_OVER;

        if (r->now[i] == NULL &&
            (gone == r->count ||
             (is_over && r->list[gone]->state != KERF_ROLLOUT_OVER)))
            gone = i;
    }
    if (gone < r->count)
        remove_at(r, gone);
}

static size_t
add(kerf_rollouts *r, const kerf_served *s)
{
    size_t i = kerf_rollouts_find(r, s->manifest.name);
    kerf_rollout *one;

    if (i < r->count)
        return i;
    if (r->count == KERF_MODELS_MAX)
        forget_one(r);
    if (r->count == KERF_MODELS_MAX)
        return KERF_MODELS_MAX;
    one = malloc(sizeof *one);
    if (one == NULL)
        return KERF_MODELS_MAX;
    kerf_rollout_init(one, s->manifest.name);
    one->halt = r->opts.halt;
    memcpy(one->old_id, s->manifest.id, sizeof one->old_id);
    memcpy(one->new_id, s->manifest.id, sizeof one->new_id);
    r->list[r->count] = one;
    r->old[r->count] = r->now[r->count] = NULL;
    return r->count++;
}

/* Nothing is rolled out any more: s for all. */
static void
end(kerf_rollouts *r, size_t i, const kerf_served *s)
{
    kerf_rollout *one = r->list[i];
    bool was_open = one->state != KERF_ROLLOUT_OVER;

    memcpy(one->new_id, s->manifest.id, sizeof one->new_id);
    kerf_rollout_finish(one);
    set_old(r, i, NULL);
    if (was_open)
        kerf_rollouts_tell(r, one);
}

bool
kerf_rollouts_new_is_well(const kerf_rollout *one)
{
    return one->state == KERF_ROLLOUT_RUNNING && one->percent >= 100 &&
           one->failed == 0;
}

/* What served before: of an earlier rollout that is still open, the one that is
 * known to be well. */
static kerf_served *
old_of(kerf_rollouts *r, size_t i, kerf_served *was_newest)
{
    const kerf_rollout *one = r->list[i];

    if (r->old[i] == NULL || one->state == KERF_ROLLOUT_OVER ||
        kerf_rollouts_new_is_well(one))
        return was_newest;
    return r->old[i];
}

/*
 * The same files, signed anew: what was decided of them stays. Where it goes
 * on, those that failed may try again: perhaps for want of this signature, as
 * do edges that want one where there was none. For that it may have halted by
 * itself, too, unless they had one: to take it away and put it back says
 * nothing.
 */
static void
sign_again(kerf_rollouts *r, size_t i, const kerf_served *s,
           const kerf_served *was)
{
    kerf_rollout *one = r->list[i];
    bool is_first = !one->was_signed && was->manifest.sig.len == 0 &&
                    s->manifest.sig.len > 0;
    bool halted = one->state == KERF_ROLLOUT_HALTED;
    bool by_command = strcmp(one->why, KERF_ROLLOUTS_BY_COMMAND) == 0;

    if (r->old[i] == NULL ||
        kerf_signed_equal(&s->manifest.sig, &was->manifest.sig) ||
        one->state == KERF_ROLLOUT_BACK ||
        (halted && (by_command || !is_first)))
        return;
    if ((!halted && kerf_rollout_halt(one, "", NULL) != KERF_OK) ||
        kerf_rollout_resume(one, NULL) != KERF_OK)
        return; /* it is over */
    if (halted)
        kerf_rollouts_tell(r, one);
}

/* The old one cannot be loaded. What is known of the rollout stays, also of one
 * that would begin now: s goes to nobody else than it would have. */
static void
lose(kerf_rollouts *r, size_t i, const kerf_served *s)
{
    kerf_rollout *one = r->list[i];

    if (same_id(s, one->old_id) || /* here it is, or nobody needs it */
        (same_id(s, one->new_id) && kerf_rollouts_new_is_well(one))) {
        end(r, i, s);
        return;
    }
    if (!same_id(s, one->new_id) || one->state == KERF_ROLLOUT_OVER) {
        kerf_rollout_start(
            one, kerf_rollouts_new_is_well(one) ? one->new_id : one->old_id,
            s->manifest.id, r->opts.percent);
    }
    set_old_or_lost(r, i, NULL, true);
    kerf_rollouts_tell(r, one);
}

static void
replace(kerf_rollouts *r, size_t i, kerf_served *s, kerf_served *was_newest)
{
    kerf_rollout *one = r->list[i];
    kerf_served *old;

    if (same_id(s, was_newest->manifest.id)) {
        sign_again(r, i, s, was_newest);
        return;
    }
    if (r->lost[i] && !kerf_rollouts_new_is_well(one)) {
        lose(r, i, s);
        return;
    }
    if (one->state != KERF_ROLLOUT_OVER && r->old[i] == NULL &&
        same_id(was_newest, one->old_id) && same_id(s, one->new_id)) {
        set_old(r, i, was_newest); /* its files were gone, or the cloud was */
        kerf_rollouts_tell(r, one);
        return;
    }
    old = old_of(r, i, was_newest);
    if (same_id(s, old->manifest.id)) {
        end(r, i, s);
        return;
    }
    kerf_rollout_start(one, old->manifest.id, s->manifest.id, r->opts.percent);
    set_old(r, i, old);
    kerf_log(KERF_LOG_INFO, "cloud.old_kept",
             "model=%s bundle=%.12s for=%.12s bytes=%llu", one->name, old->id,
             s->id, (unsigned long long)kerf_served_bytes(old));
    kerf_rollouts_tell(r, one);
}

/* Its files are gone. What comes under its name must not go past a rollout, so
 * where pairs are kept it is known what ran last, and how it went. */
static void
leave(kerf_rollouts *r, size_t i)
{
    size_t to = 0;

    if (r->opts.dir == NULL) {
        remove_at(r, i);
        return;
    }
    set_old(r, i, NULL);
    set_served(&r->now[i], NULL);
    while (to < i && r->now[to] == NULL)
        to++;
    move(r, i, to);
}

void
kerf_rollouts_changed(kerf_rollouts *r, kerf_served *s, kerf_served *old)
{
    size_t i;

    (void)pthread_mutex_lock(&r->lock);
    if (s == NULL) {
        i = kerf_rollouts_find(r, old->manifest.name);
        if (i < r->count)
            leave(r, i);
    } else if ((i = add(r, s)) < r->count) {
        if (r->now[i] == NULL) {
            move(r, i, r->count - 1);
            i = r->count - 1;
        }
        if (old != NULL)
            replace(r, i, s, old);
        else if (!same_id(s, r->list[i]->old_id))
            lose(r, i, s);
        set_served(&r->now[i], s);
        r->list[i]->was_signed |=
            s->manifest.sig.len > 0 && same_id(s, r->list[i]->new_id);
    }
    kerf_rollouts_want_write(r);
    kerf_rollouts_unlock(r);
}

void
kerf_rollouts_signed_again(kerf_rollouts *r, kerf_served *old)
{
    size_t i;

    (void)pthread_mutex_lock(&r->lock);
    i = kerf_rollouts_find(r, old->manifest.name);
    if (i < r->count && r->old[i] != NULL &&
        same_id(old, r->old[i]->manifest.id)) {
        set_served(&r->old[i], old);
    } else if (i < r->count && r->lost[i] && same_id(old, r->list[i]->old_id)) {
        set_old(r, i, old);
        kerf_rollouts_tell(r, r->list[i]);
    }
    kerf_rollouts_unlock(r);
}

kerf_served *
kerf_rollouts_for(kerf_rollouts *r, kerf_served *s, const char *edge)
{
    kerf_served *got = s;
    size_t i;

    if (atomic_load(&r->open) == 0)
        return s;
    (void)pthread_mutex_lock(&r->lock);
    i = kerf_rollouts_find(r, s->manifest.name);
    if (i < r->count && kerf_rollouts_is_open(r, i) && r->now[i] == s &&
        !kerf_rollout_gets_new(r->list[i], edge))
        got = r->old[i];
    kerf_rollouts_unlock(r);
    return got;
}

bool
kerf_rollouts_needs(kerf_rollouts *r, const kerf_served *s)
{
    size_t i = kerf_rollouts_find(r, s->manifest.name);

    return i < r->count && (r->old[i] == s || r->now[i] == s);
}

kerf_served *
kerf_rollouts_old(kerf_rollouts *r, const kerf_served *s)
{
    size_t i = kerf_rollouts_find(r, s->manifest.name);

    return i < r->count && r->now[i] == s ? r->old[i] : NULL;
}

kerf_served *
kerf_rollouts_failed(kerf_rollouts *r, const kerf_served *s, const char *edge)
{
    kerf_served *got = NULL;
    size_t i;

    (void)pthread_mutex_lock(&r->lock); /* a command may forget trials */
    i = kerf_rollouts_find(r, s->manifest.name);
    if (i < r->count && r->old[i] == s &&
        kerf_rollout_trial(r->list[i], edge) == KERF_TRIAL_FAILED)
        got = r->now[i];
    kerf_rollouts_unlock(r);
    return got;
}

/* Under the lock: the model's rollout that is open, or NULL. */
static kerf_rollout *
find_open(const kerf_rollouts *r, const char *model)
{
    size_t i = kerf_rollouts_find(r, model);

    return i < r->count && kerf_rollouts_is_open(r, i) ? r->list[i] : NULL;
}

/* The same, if s is the new one of it. */
static kerf_rollout *
rollout_of(const kerf_rollouts *r, const kerf_served *s)
{
    kerf_rollout *one = find_open(r, s->manifest.name);

    return one != NULL && same_id(s, one->new_id) ? one : NULL;
}

/* The same, and takes the lock, but for NULL. */
static kerf_rollout *
open_rollout_of(kerf_rollouts *r, const kerf_served *s)
{
    kerf_rollout *one;

    if (atomic_load(&r->open) == 0)
        return NULL;
    (void)pthread_mutex_lock(&r->lock);
    one = rollout_of(r, s);
    if (one == NULL)
        kerf_rollouts_unlock(r);
    return one;
}

void
kerf_rollouts_offer(kerf_rollouts *r, const kerf_served *s, const char *edge)
{
    kerf_rollout *one = open_rollout_of(r, s);

    if (one == NULL)
        return;
    if (kerf_rollout_offer(one, edge))
        kerf_rollouts_want_write(r);
    kerf_rollouts_unlock(r);
}

/* Under the lock, which it drops. was: the state before something changed. */
static void
settle_change(kerf_rollouts *r, const kerf_rollout *one, bool changed,
              kerf_rollout_state was)
{
    if (changed)
        kerf_rollouts_want_write(r);
    if (changed && one->state != was) {
        r->is_urgent = true;
        kerf_rollouts_tell(r, one);
    }
    r->stirs |= changed;
    kerf_rollouts_unlock(r);
}

void
kerf_rollouts_ready(kerf_rollouts *r, const kerf_served *s, const char *edge,
                    kerf_err err, const char *why)
{
    kerf_rollout *one = open_rollout_of(r, s);
    kerf_rollout_state was;

    if (one == NULL)
        return;
    if (kerf_ready_is_passing((uint16_t)err)) {
        kerf_rollout_blocked(one, edge, why);
        kerf_rollouts_unlock(r);
        return;
    }
    was = one->state;
    settle_change(r, one, kerf_rollout_ready(one, edge, err == KERF_OK, why),
                  was);
}

void
kerf_rollouts_left(kerf_rollouts *r, const kerf_served *s, const char *edge,
                   kerf_leave how)
{
    uint64_t now_ns;

    if (atomic_load(&r->open) == 0)
        return;
    (void)pthread_mutex_lock(&r->lock);
    now_ns = kerf_now_ns();
    /* All: it may have been given one of another model in between. */
    for (size_t i = 0; i < r->count; i++) {
        kerf_rollout *one = r->list[i];

        if (kerf_rollouts_is_open(r, i)) {
            kerf_rollout_left(
                one, edge,
                s != NULL && same_id(s, one->new_id) ? how : KERF_LEFT_MIDWAY,
                now_ns);
        }
    }
    kerf_rollouts_unlock(r);
}

void
kerf_rollouts_came(kerf_rollouts *r, const char *model, const char *edge,
                   const kerf_hello *hello)
{
    kerf_rollout *one;
    kerf_rollout_state was;
    unsigned says = 0;

    if (atomic_load(&r->open) == 0)
        return;
    (void)pthread_mutex_lock(&r->lock);
    one = find_open(r, model);
    if (one == NULL) {
        kerf_rollouts_unlock(r);
        return;
    }
    for (size_t k = 0; k < hello->bundle_count; k++) {
        const uint8_t *id = hello->bundle[k];

        if (memcmp(id, one->new_id, KERF_ROLLOUT_ID) == 0)
            says |= KERF_CAME_NEW;
        if (memcmp(id, one->old_id, KERF_ROLLOUT_ID) == 0)
            says |= KERF_CAME_OLD;
    }
    if ((hello->asks & KERF_ASKS_FIRST) != 0)
        says |= KERF_CAME_FIRST;
    if ((hello->asks & KERF_ASKS_AGAIN) != 0)
        says |= KERF_CAME_AGAIN;
    was = one->state;
    settle_change(r, one, kerf_rollout_came(one, edge, says), was);
}

bool
kerf_rollouts_any_open(kerf_rollouts *r)
{
    return atomic_load(&r->open) > 0;
}

void
kerf_rollouts_telling(kerf_rollouts *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->untold = false;
    (void)pthread_mutex_unlock(&r->lock);
}

void
kerf_rollouts_settle(kerf_rollouts *r)
{
    uint64_t now_ns;

    if (atomic_load(&r->open) == 0)
        return;
    (void)pthread_mutex_lock(&r->lock);
    now_ns = kerf_now_ns();
    for (size_t i = 0; i < r->count; i++) {
        kerf_rollout *one = r->list[i];

        if (kerf_rollout_forget(one, now_ns, r->opts.wait_ns))
            kerf_rollouts_want_write(r);
        if (!r->untold && (r->old[i] != NULL || r->lost[i]) &&
            (kerf_rollout_is_done(one, now_ns, r->opts.soak_ns) ||
             one->state == KERF_ROLLOUT_OVER)) {
            end(r, i, r->now[i]);
            kerf_rollouts_want_write(r);
        }
    }
    kerf_rollouts_unlock(r);
}

/* Any thread. */

void
kerf_rollouts_request(kerf_rollouts *r, const kerf_served *s, const char *edge,
                      bool failed)
{
    kerf_rollout *one = open_rollout_of(r, s);
    kerf_rollout_state was;

    if (one == NULL)
        return;
    was = one->state;
    settle_change(r, one, kerf_rollout_request(one, edge, failed), was);
}

#include "cloud/rollout.h"

#include "base/hash.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/rollout_own.h"

#define RETURNS_MOST 3u /* after what may have been a crash */
#define BAD_LEAST 3u    /* failed requests, and one of so many: */
#define BAD_SHARE 20u

void
kerf_rollout_init(kerf_rollout *r, const char *name)
{
    *r = (kerf_rollout){.percent = 100, .halt = -1};
    (void)snprintf(r->name, sizeof r->name, "%s", name);
}

static void
forget_trials(kerf_rollout *r)
{
    for (size_t i = 0; i < KERF_TRIALS_LISTS; i++) {
        while (r->trials[i].first != NULL)
            kerf_trial_forget(r, r->trials[i].first);
    }
    free(r->table);
    r->table = NULL;
}

void
kerf_rollout_fini(kerf_rollout *r)
{
    forget_trials(r);
    r->state = KERF_ROLLOUT_OVER;
}

void
kerf_rollout_start(kerf_rollout *r, const uint8_t old_id[KERF_ROLLOUT_ID],
                   const uint8_t new_id[KERF_ROLLOUT_ID], double percent)
{
    forget_trials(r);
    memmove(r->old_id, old_id, sizeof r->old_id);
    memmove(r->new_id, new_id, sizeof r->new_id);
    r->state = KERF_ROLLOUT_RUNNING;
    r->was_signed = false;
    r->percent = percent;
    r->quiet_ns = 0;
    r->why[0] = '\0';
}

void
kerf_rollout_finish(kerf_rollout *r)
{
    forget_trials(r);
    memcpy(r->old_id, r->new_id, sizeof r->old_id);
    r->state = KERF_ROLLOUT_OVER;
    r->percent = 100;
    r->why[0] = '\0';
}

bool
kerf_rollout_is_done(kerf_rollout *r, uint64_t now_ns, uint64_t soak_ns)
{
    bool well =
        r->state == KERF_ROLLOUT_RUNNING && r->percent >= 100 && r->failed == 0;

    if (!well)
        r->quiet_ns = 0;
    else if (r->quiet_ns == 0 && r->offered == 0)
        r->quiet_ns = now_ns;
    return well && r->offered == 0 && now_ns - r->quiet_ns >= soak_ns;
}

/* Edges. */

double
kerf_rollout_place(const uint8_t id[KERF_ROLLOUT_ID], const char *edge)
{
    uint64_t h =
        kerf_xxh3_seed(edge, strlen(edge), kerf_xxh3(id, KERF_ROLLOUT_ID));

    return (double)(h >> 11) * 0x1p-53 * 100;
}

bool
kerf_rollout_gets_new(const kerf_rollout *r, const char *edge)
{
    switch (r->state) {
    case KERF_ROLLOUT_OVER:
        return true;
    case KERF_ROLLOUT_BACK:
        return false;
    case KERF_ROLLOUT_HALTED:
        return kerf_rollout_trial(r, edge) == KERF_TRIAL_WELL;
    case KERF_ROLLOUT_RUNNING:
        break;
    }
    switch (kerf_rollout_trial(r, edge)) {
    case KERF_TRIAL_FAILED:
        return false;
    case KERF_TRIAL_WELL:
        return true;
    case KERF_TRIAL_OFFERED:
    case KERF_TRIAL_NONE:
        break;
    }
    return kerf_rollout_place(r->new_id, edge) < r->percent &&
           (r->count < KERF_ROLLOUT_EDGES || kerf_trial_find(r, edge) != NULL ||
            kerf_trial_longest_away(r) != NULL);
}

kerf_trial_state
kerf_rollout_trial(const kerf_rollout *r, const char *edge)
{
    const kerf_trial *t = kerf_trial_find(r, edge);

    return t == NULL ? KERF_TRIAL_NONE : t->state;
}

/* What became of it. */

bool
kerf_rollout_offer(kerf_rollout *r, const char *edge)
{
    kerf_trial *old = kerf_trial_longest_away(r);
    kerf_trial *t = kerf_trial_find(r, edge);

    if (t != NULL && t->away) /* it was given another model */
        kerf_trial_move(r, t, false, 0);
    if (r->state == KERF_ROLLOUT_OVER || t != NULL)
        return true;
    if (r->count == KERF_ROLLOUT_EDGES && old != NULL)
        kerf_trial_forget(r, old);
    return kerf_rollout_add(r, edge, KERF_TRIAL_OFFERED) != NULL;
}

static void
stop(kerf_rollout *r, kerf_rollout_state state, const char *text)
{
    r->state = state;
    (void)kerf_text_safe(r->why, sizeof r->why, text);
}

/* Halts when more than the bound have failed. */
static void
look_at_bound(kerf_rollout *r, const char *edge, const char *why)
{
    size_t judged = r->well + r->failed;
    char text[KERF_ROLLOUT_WHY];

    if (r->state != KERF_ROLLOUT_RUNNING || r->halt < 0 ||
        judged < KERF_ROLLOUT_LEAST ||
        (double)r->failed * 100 <= r->halt * (double)judged)
        return;
    (void)snprintf(text, sizeof text, "%zu of %zu edges failed, last %s: %s",
                   r->failed, judged, edge, why);
    stop(r, KERF_ROLLOUT_HALTED, text);
}

static void
fail(kerf_rollout *r, kerf_trial *t, const char *why)
{
    kerf_trial_set(r, t, KERF_TRIAL_FAILED);
    look_at_bound(r, t->edge, why);
}

bool
kerf_rollout_ready(kerf_rollout *r, const char *edge, bool well,
                   const char *why)
{
    kerf_trial *t = kerf_trial_find(r, edge);

    if (r->state == KERF_ROLLOUT_OVER || t == NULL)
        return false;
    if (!well) {
        if (t->state == KERF_TRIAL_FAILED)
            return false;
        fail(r, t, why);
        return true;
    }
    /* What failed in use stays failed: that it loads was known. And while it is
     * halted, the old one has been offered again. */
    if (t->state != KERF_TRIAL_OFFERED || r->state != KERF_ROLLOUT_RUNNING)
        return false;
    kerf_trial_set(r, t, KERF_TRIAL_WELL);
    t->bad = t->good = 0;
    return true;
}

void
kerf_rollout_left(kerf_rollout *r, const char *edge, kerf_leave how,
                  uint64_t now_ns)
{
    kerf_trial *t = kerf_trial_find(r, edge);

    if (t == NULL || t->away)
        return;
    kerf_trial_move(r, t, true, now_ns);
    t->crashed = how == KERF_LEFT_SOON;
    if (how == KERF_LEFT_WELL)
        t->returns = 0;
}

/* Of one that left soon. */
static bool
was_crash(unsigned says)
{
    if ((says & (KERF_CAME_AGAIN | KERF_CAME_OLD)) != 0)
        return false;
    return (says & KERF_CAME_FIRST) != 0 || (says & KERF_CAME_NEW) == 0;
}

bool
kerf_rollout_came(kerf_rollout *r, const char *edge, unsigned says)
{
    kerf_trial *t = kerf_trial_find(r, edge);
    bool runs_old = (says & KERF_CAME_OLD) != 0;
    bool crashed;

    if (r->state == KERF_ROLLOUT_OVER || t == NULL)
        return false;
    if (t->away)
        kerf_trial_move(r, t, false, 0);
    crashed = t->crashed && was_crash(says);
    t->crashed = false;
    if (t->state == KERF_TRIAL_FAILED || r->state == KERF_ROLLOUT_BACK)
        return false;
    if (crashed && ++t->returns >= RETURNS_MOST) {
        fail(r, t,
             "it ended without BYE as it loaded it or soon after, "
             "three times");
        return true;
    }
    if (!runs_old || (says & KERF_CAME_NEW) != 0 ||
        t->state == KERF_TRIAL_OFFERED || r->state != KERF_ROLLOUT_RUNNING)
        return false;
    kerf_trial_set(r, t,
                   KERF_TRIAL_OFFERED); /* another cloud gave it that one */
    return true;
}

bool
kerf_rollout_request(kerf_rollout *r, const char *edge, bool failed)
{
    kerf_trial *t = kerf_trial_find(r, edge);

    if (r->state == KERF_ROLLOUT_OVER || t == NULL ||
        t->state == KERF_TRIAL_FAILED)
        return false;
    if (!failed) {
        t->good++;
        return false;
    }
    t->bad++;
    if (t->bad < BAD_LEAST || t->bad * BAD_SHARE < t->bad + t->good)
        return false;
    fail(r, t, "its requests fail");
    return true;
}

/* Commands. */

static kerf_err
check_open(const kerf_rollout *r, kerf_detail *why)
{
    if (r->state != KERF_ROLLOUT_OVER)
        return KERF_OK;
    return kerf_fail(why, KERF_EINVAL,
                     "model %s is not being rolled out: every edge is given "
                     "the same bundle",
                     r->name);
}

/* One that failed: those that are here are offered it again at once, the others
 * need the old one until they have been. */
static void
try_again(kerf_rollout *r, kerf_trial *t)
{
    if (t->away && kerf_rollout_place(r->new_id, t->edge) < r->percent) {
        t->bad = t->good = 0;
        kerf_trial_set(r, t, KERF_TRIAL_OFFERED);
    } else {
        kerf_trial_forget(r, t);
    }
}

/* Those that failed may try again. What was told to go back has to say again
 * that it runs it. */
static void
run_list_again(kerf_rollout *r, const kerf_trials *list)
{
    kerf_trial *next;

    for (kerf_trial *t = list->first; t != NULL; t = next) {
        next = t->next;
        t->returns = 0;
        t->crashed = false;
        if (t->state == KERF_TRIAL_FAILED)
            try_again(r, t);
        else if (r->state == KERF_ROLLOUT_BACK && t->state == KERF_TRIAL_WELL)
            kerf_trial_set(r, t, KERF_TRIAL_OFFERED);
    }
}

static void
run_again(kerf_rollout *r)
{
    for (size_t i = 0;
         r->state != KERF_ROLLOUT_RUNNING && i < KERF_TRIALS_LISTS; i++)
        run_list_again(r, &r->trials[i]);
    r->state = KERF_ROLLOUT_RUNNING;
    r->why[0] = '\0';
}

kerf_err
kerf_rollout_set(kerf_rollout *r, double percent, kerf_detail *why)
{
    kerf_err err = check_open(r, why);

    if (err != KERF_OK)
        return err;
    r->percent = percent;
    run_again(r);
    return KERF_OK;
}

kerf_err
kerf_rollout_halt(kerf_rollout *r, const char *text, kerf_detail *why)
{
    kerf_err err = check_open(r, why);

    if (err == KERF_OK && r->state == KERF_ROLLOUT_BACK)
        return kerf_fail(why, KERF_EINVAL,
                         "model %s is back at the old bundle already", r->name);
    if (err == KERF_OK)
        stop(r, KERF_ROLLOUT_HALTED, text);
    return err;
}

kerf_err
kerf_rollout_resume(kerf_rollout *r, kerf_detail *why)
{
    kerf_err err = check_open(r, why);

    if (err == KERF_OK)
        run_again(r);
    return err;
}

kerf_err
kerf_rollout_back(kerf_rollout *r, kerf_detail *why)
{
    kerf_err err = check_open(r, why);

    if (err == KERF_OK)
        stop(r, KERF_ROLLOUT_BACK, "by command");
    return err;
}

kerf_err
kerf_rollout_end(kerf_rollout *r, kerf_detail *why)
{
    kerf_err err = check_open(r, why);

    if (err != KERF_OK)
        return err;
    if (r->state != KERF_ROLLOUT_RUNNING || r->percent < 100) {
        return kerf_fail(why, KERF_EINVAL,
                         "model %s is not given to all edges: first kerf "
                         "rollout 100%%",
                         r->name);
    }
    kerf_rollout_finish(r);
    return KERF_OK;
}

const char *
kerf_rollout_state_name(kerf_rollout_state state)
{
    static const char *const names[] = {"over", "running", "halted", "back"};

    return names[state];
}

bool
kerf_rollout_percent(const char *text, double least, double *out)
{
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double v = strtod(text, &end);

    if (digits == 0 || end != text + digits) /* no 0x10, nor 1e1 */
        return false;
    end += strspn(end, " ");
    if (*end == '%')
        end++;
    if (*end != '\0' || !isfinite(v) || v < least || v > 100)
        return false;
    *out = v;
    return true;
}

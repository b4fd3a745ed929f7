/* Events of rollouts: as things were under the lock, and in that order, though
 * several threads tell of them without it. */
#include "cloud/rollouts_own.h"

#include <stdio.h>
#include <stdlib.h>

void
kerf_rollouts_view_of(kerf_rollout_view *v, const kerf_rollouts *r,
                      const kerf_rollout *one)
{
    bool lost = r->lost[kerf_rollouts_find(r, one->name)];

    *v = (kerf_rollout_view){.percent = one->percent,
                             .offered = one->offered,
                             .well = one->well,
                             .failed = one->failed,
                             .blocked = one->blocked};
    (void)snprintf(v->model, sizeof v->model, "%s", one->name);
    kerf_hex(v->old_bundle, one->old_id, 6);
    kerf_hex(v->new_bundle, one->new_id, 6);
    (void)snprintf(v->state, sizeof v->state, "%s",
                   kerf_rollout_state_name(one->state));
    if (lost) {
        (void)snprintf(v->why, sizeof v->why,
                       "the old pair is lost: put its files back into "
                       "pairs/%s... of --rollout-dir, or kerf rollout 100%%; "
                       "till then edges that would run it are given nothing",
                       v->old_bundle);
    } else {
        (void)snprintf(v->why, sizeof v->why, "%s", one->why);
    }
    (void)snprintf(v->blocked_why, sizeof v->blocked_why, "%s",
                   one->blocked > 0 ? one->blocked_why : "");
}

void
kerf_rollouts_tell(kerf_rollouts *r, const kerf_rollout *one)
{
    struct told *t = r->opts.event == NULL ? NULL : malloc(sizeof *t);

    if (t == NULL)
        return;
    kerf_rollouts_view_of(&t->view, r, one);
    t->next = NULL;
    *(r->told == NULL ? &r->told : &r->told_last->next) = t;
    r->told_last = t;
}

static void
tell_all(kerf_rollouts *r, struct told *list)
{
    while (list != NULL) {
        struct told *next = list->next;

        r->opts.event(r->opts.ctx, &list->view);
        free(list);
        list = next;
    }
}

/* One thread tells at a time, of what others leave it, too: nobody waits for a
 * callback, which may itself have come here. Who hears of something may look at
 * once what edges get: these are stirred first. */
void
kerf_rollouts_unlock(kerf_rollouts *r)
{
    bool tells = !r->tells;
    bool stirs = r->stirs;

    r->tells = true;
    while (tells && (r->told != NULL || r->stirs)) {
        struct told *list = r->told;

        stirs = r->stirs;
        r->told = NULL;
        r->stirs = false;
        (void)pthread_mutex_unlock(&r->lock);
        if (stirs)
            r->opts.stirred(r->opts.ctx);
        tell_all(r, list);
        (void)pthread_mutex_lock(&r->lock);
    }
    if (tells)
        r->tells = false;
    (void)pthread_mutex_unlock(&r->lock);
    if (!tells && stirs) /* at once; who tells will have to, too */
        r->opts.stirred(r->opts.ctx);
}

/* The edges that a rollout keeps count of: found by name, listed by where they
 * are, so that those that went longest ago are forgotten first. */
#include "cloud/rollout_own.h"

#include "base/hash.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
hash_edge(const char *edge)
{
    return kerf_xxh3(edge, strlen(edge));
}

kerf_trial *
kerf_trial_find(const kerf_rollout *r, const char *edge)
{
    kerf_knot *knot =
        r->table == NULL ? NULL : kerf_table_find(r->table, hash_edge(edge));

    for (; knot != NULL; knot = kerf_table_more(knot)) {
        kerf_trial *t = knot->of;

        if (strcmp(t->edge, edge) == 0)
            return t;
    }
    return NULL;
}

static size_t *
counter(kerf_rollout *r, kerf_trial_state state)
{
    return state == KERF_TRIAL_OFFERED ? &r->offered
           : state == KERF_TRIAL_WELL  ? &r->well
                                       : &r->failed;
}

/* Those that failed need the old one, however long they are away. */
static kerf_trials *
list_of(kerf_rollout *r, const kerf_trial *t)
{
    return &r->trials[!t->away || t->state == KERF_TRIAL_FAILED
                          ? KERF_TRIALS_HERE
                      : t->state == KERF_TRIAL_OFFERED ? KERF_TRIALS_AWAY
                                                       : KERF_TRIALS_WELL_AWAY];
}

static void
put(kerf_rollout *r, kerf_trial *t)
{
    kerf_trials *list = list_of(r, t);

    t->next = NULL;
    t->prev = list->last;
    if (t->prev != NULL)
        t->prev->next = t;
    else
        list->first = t;
    list->last = t;
}

static void
take(kerf_rollout *r, kerf_trial *t)
{
    kerf_trials *list = list_of(r, t);

    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        list->first = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    else
        list->last = t->prev;
}

static void
unblock(kerf_rollout *r, kerf_trial *t)
{
    r->blocked -= t->blocked;
    t->blocked = false;
}

kerf_trial *
kerf_rollout_add(kerf_rollout *r, const char *edge, kerf_trial_state state)
{
    kerf_trial *t;

    if (r->count >= KERF_ROLLOUT_EDGES)
        return NULL;
    if (r->table == NULL)
        r->table = calloc(1, sizeof *r->table);
    t = r->table == NULL ? NULL : calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    (void)snprintf(t->edge, sizeof t->edge, "%s", edge);
    t->state = state;
    put(r, t);
    r->count++;
    (*counter(r, state))++;
    kerf_table_add(r->table, &t->knot, hash_edge(t->edge), t);
    return t;
}

void
kerf_trial_forget(kerf_rollout *r, kerf_trial *t)
{
    unblock(r, t);
    take(r, t);
    (*counter(r, t->state))--;
    r->count--;
    kerf_table_remove(r->table, &t->knot);
    free(t);
}

void
kerf_trial_set(kerf_rollout *r, kerf_trial *t, kerf_trial_state state)
{
    unblock(r, t);
    take(r, t);
    (*counter(r, t->state))--;
    t->state = state;
    (*counter(r, state))++;
    put(r, t);
}

void
kerf_trial_move(kerf_rollout *r, kerf_trial *t, bool away, uint64_t now_ns)
{
    unblock(r, t);
    take(r, t);
    t->away = away;
    t->left_ns = now_ns;
    put(r, t);
}

void
kerf_rollout_all_away(kerf_rollout *r, uint64_t now_ns)
{
    kerf_trial *next;

    for (kerf_trial *t = r->trials[KERF_TRIALS_HERE].first; t != NULL;
         t = next) {
        next = t->next;
        if (!t->away)
            kerf_trial_move(r, t, true, now_ns);
    }
}

bool
kerf_rollout_forget(kerf_rollout *r, uint64_t now_ns, uint64_t after_ns)
{
    kerf_trial *next;
    bool any = false;

    for (kerf_trial *t = r->trials[KERF_TRIALS_AWAY].first;
         t != NULL && now_ns - t->left_ns >= after_ns; t = next) {
        next = t->next;
        kerf_trial_forget(r, t);
        any = true;
    }
    return any;
}

kerf_trial *
kerf_trial_longest_away(const kerf_rollout *r)
{
    kerf_trial *t = r->trials[KERF_TRIALS_AWAY].first;

    return t != NULL ? t : r->trials[KERF_TRIALS_WELL_AWAY].first;
}

void
kerf_rollout_blocked(kerf_rollout *r, const char *edge, const char *why)
{
    kerf_trial *t = kerf_trial_find(r, edge);
    char text[KERF_ROLLOUT_WHY];

    if (t == NULL || t->state != KERF_TRIAL_OFFERED)
        return;
    r->blocked += !t->blocked;
    t->blocked = true;
    (void)snprintf(text, sizeof text, "%s: %s", edge, why);
    (void)kerf_text_safe(r->blocked_why, sizeof r->blocked_why, text);
}

#include "cloud/lane.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/stats.h"
#include "base/warm.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS 900000000u /* calls may come more often than each second */

kerf_err
kerf_lanes_init(kerf_lanes *l)
{
    *l = (kerf_lanes){.table = calloc(1, sizeof *l->table)};
    if (l->table == NULL)
        return KERF_ENOMEM;
    (void)pthread_mutex_init(&l->lock, NULL);
    return KERF_OK;
}

static void
drop(kerf_lanes *l, kerf_lane *lane)
{
    kerf_table_remove(l->table, &lane->knot);
    l->past.answered += atomic_load(&lane->answered);
    l->past.late += atomic_load(&lane->late);
    l->past.failed += atomic_load(&lane->failed);
    l->past.busy += atomic_load(&lane->busy);
    if (lane->prev != NULL)
        lane->prev->next = lane->next;
    else
        l->first = lane->next;
    if (lane->next != NULL)
        lane->next->prev = lane->prev;
    l->count--;
    free(lane);
}

void
kerf_lanes_fini(kerf_lanes *l)
{
    if (l->table == NULL)
        return;
    while (l->first != NULL) /* the end of one unlinks it: */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it cannot see that */
        drop(l, l->first);
    free(l->table);
    l->table = NULL;
    (void)pthread_mutex_destroy(&l->lock);
}

static kerf_lane *
find(const kerf_lanes *l, uint64_t hash, const char *name, const char *host)
{
    kerf_knot *knot = kerf_table_find(l->table, hash);

    for (; knot != NULL; knot = kerf_table_more(knot)) {
        kerf_lane *lane = knot->of;

        if (strcmp(lane->name, name) == 0 && strcmp(lane->host, host) == 0)
            return lane;
    }
    return NULL;
}

static kerf_lane *
add(kerf_lanes *l, uint64_t hash, const char *name, const char *host)
{
    kerf_lane *lane = calloc(1, sizeof *lane);

    if (lane == NULL)
        return NULL;
    (void)snprintf(lane->name, sizeof lane->name, "%s", name);
    (void)snprintf(lane->host, sizeof lane->host, "%s", host);
    lane->since_ns = kerf_now_ns();
    kerf_table_add(l->table, &lane->knot, hash, lane);
    (void)pthread_mutex_lock(&l->lock);
    lane->next = l->first;
    if (lane->next != NULL)
        lane->next->prev = lane;
    l->first = lane;
    l->count++;
    (void)pthread_mutex_unlock(&l->lock);
    return lane;
}

kerf_lane *
kerf_lanes_join(kerf_lanes *l, const char *name, const char *peer,
                bool certified)
{
    char host[sizeof((kerf_lane *)NULL)->host];
    char *port;
    uint64_t hash;
    kerf_lane *lane;

    (void)snprintf(host, sizeof host, "%s", certified ? "" : peer);
    port = strrchr(host, ':');
    if (port != NULL)
        *port = '\0';
    hash = kerf_xxh3_seed(host, strlen(host), kerf_xxh3(name, strlen(name)));
    lane = find(l, hash, name, host);
    if (lane == NULL)
        lane = add(l, hash, name, host);
    if (lane == NULL)
        return NULL;
    (void)atomic_fetch_add(&lane->sessions, 1);
    (void)pthread_mutex_lock(&l->lock);
    (void)snprintf(lane->peer, sizeof lane->peer, "%s", peer);
    (void)pthread_mutex_unlock(&l->lock);
    return lane;
}

void
kerf_lanes_leave(kerf_lanes *l, kerf_lane *lane)
{
    (void)l; /* the next tick frees it */
    (void)atomic_fetch_sub(&lane->sessions, 1);
}

void
kerf_lanes_note_model(kerf_lanes *l, kerf_lane *lane, const void *served,
                      const char *model, const char *bundle, int64_t version)
{
    if (lane->served == served)
        return;
    lane->served = served;
    (void)pthread_mutex_lock(&l->lock);
    (void)snprintf(lane->model, sizeof lane->model, "%s", model);
    (void)snprintf(lane->bundle, sizeof lane->bundle, "%.12s", bundle);
    lane->version = version;
    (void)pthread_mutex_unlock(&l->lock);
}

void
kerf_lanes_note_update(kerf_lanes *l, kerf_lane *lane, kerf_update update,
                       const char *bundle)
{
    (void)pthread_mutex_lock(&l->lock);
    (void)snprintf(lane->update_bundle, sizeof lane->update_bundle, "%.12s",
                   bundle);
    (void)pthread_mutex_unlock(&l->lock);
    atomic_store(&lane->update, update);
}

void
kerf_lanes_move_update(kerf_lane *lane, kerf_update update)
{
    kerf_update now = atomic_load(&lane->update);

    if ((now >= KERF_UPDATE_OFFERED && now <= KERF_UPDATE_LOADING) ||
        now == KERF_UPDATE_BLOCKED)
        atomic_store(&lane->update, update);
}

bool
kerf_lanes_update_is(kerf_lanes *l, const kerf_lane *lane, const char *bundle)
{
    bool is;

    (void)pthread_mutex_lock(&l->lock);
    is = strncmp(lane->update_bundle, bundle, 12) == 0;
    (void)pthread_mutex_unlock(&l->lock);
    return is;
}

static void
note_second(kerf_lane *lane, size_t at)
{
    uint64_t busy = atomic_load(&lane->busy);

    lane->was_answered[at] = atomic_load(&lane->answered);
    lane->is_busy = busy != lane->was_busy;
    lane->was_busy = busy;
}

void
kerf_lanes_tick(kerf_lanes *l, uint64_t now_ns)
{
    size_t at = l->ticks % KERF_LANE_SECONDS;
    kerf_lane *next;

    bool is_time = now_ns >= l->last_tick_ns + TICK_NS;

    (void)pthread_mutex_lock(&l->lock);
    if (is_time) {
        l->last_tick_ns = l->tick_ns[at] = now_ns;
        l->ticks++;
    }
    for (kerf_lane *lane = l->first; lane != NULL; lane = next) {
        next = lane->next;
        if (is_time)
            note_second(lane, at);
        if (lane->sessions == 0 && atomic_load(&lane->held) == 0)
            drop(l, lane);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

size_t
kerf_lane_share(const kerf_lane *lane)
{
    uint64_t held = atomic_load(&lane->held);

    return (uint32_t)held - (size_t)(held / KERF_LANE_DONE);
}

void
kerf_lane_warm_times(const kerf_lane *lane)
{
    uint64_t n = atomic_load_explicit(&lane->answered, memory_order_relaxed);

    kerf_warm(&lane->times_us[n % KERF_LANE_TIMES], 1);
}

void
kerf_lane_note_answer(kerf_lane *lane, uint64_t time_ns, size_t batch,
                      size_t bytes_in, size_t bytes_out, bool late)
{
    uint64_t us = time_ns / 1000;
    uint64_t n = atomic_fetch_add(&lane->answered, 1);

    atomic_store_explicit(&lane->times_us[n % KERF_LANE_TIMES],
                          us > UINT32_MAX ? UINT32_MAX : (uint32_t)us,
                          memory_order_relaxed);
    (void)atomic_fetch_add(&lane->batched[batch - 1], 1);
    (void)atomic_fetch_add(&lane->bytes_in, bytes_in);
    (void)atomic_fetch_add(&lane->bytes_out, bytes_out);
    if (late)
        (void)atomic_fetch_add(&lane->late, 1);
}

/* Looking. Copied under the lock, worked out without it. */

struct seen {
    kerf_edge_view view;
    size_t times;
    uint32_t times_us[KERF_LANE_TIMES];
};

struct rank {
    const kerf_lane *lane;
    double rate_hz;
};

/* Over the last ticks; of a younger lane over what there is of it. */
static double
rate_of(const kerf_lanes *l, const kerf_lane *lane, uint64_t now_ns)
{
    uint64_t ticks =
        l->ticks < KERF_LANE_SECONDS ? l->ticks : KERF_LANE_SECONDS;
    uint64_t since_ns = lane->since_ns;
    uint64_t was = 0;

    for (uint64_t i = 0; i < ticks; i++) { /* the oldest that knew the lane */
        size_t at = (l->ticks - ticks + i) % KERF_LANE_SECONDS;

        if (l->tick_ns[at] < lane->since_ns)
            continue;
        since_ns = l->tick_ns[at];
        was = lane->was_answered[at];
        break;
    }
    if (now_ns <= since_ns)
        return 0;
    return (double)(atomic_load(&lane->answered) - was) * 1e9 /
           (double)(now_ns - since_ns);
}

static int
compare_ranks(const void *a, const void *b)
{
    const struct rank *x = a;
    const struct rank *y = b;

    if (x->rate_hz != y->rate_hz)
        return x->rate_hz < y->rate_hz ? 1 : -1;
    return strcmp(x->lane->name, y->lane->name);
}

static const char *
state_of(const kerf_lane *lane)
{
    if (lane->sessions == 0)
        return "gone";
    if (lane->attached == 0)
        return "joining";
    return lane->is_busy ? "busy" : "up";
}

static const char *
update_of(const kerf_lane *lane)
{
    static const char *const names[] = {"",        "offered", "receiving",
                                        "loading", "running", "rejected",
                                        "blocked"};

    return names[atomic_load(&lane->update)];
}

static void
see(struct seen *s, const struct rank *rank, kerf_fair *f, uint64_t now_ns)
{
    const kerf_lane *lane = rank->lane;
    kerf_edge_view *v = &s->view;
    double runs = 0;

    memcpy(v->name, lane->name, sizeof v->name);
    memcpy(v->peer, lane->peer, sizeof v->peer);
    memcpy(v->model, lane->model, sizeof v->model);
    memcpy(v->bundle, lane->bundle, sizeof v->bundle);
    v->version = lane->version;
    (void)snprintf(v->state, sizeof v->state, "%s", state_of(lane));
    (void)snprintf(v->update, sizeof v->update, "%s", update_of(lane));
    memcpy(v->update_bundle, lane->update_bundle, sizeof v->update_bundle);
    v->sessions = lane->sessions;
    v->queued = kerf_fair_line_count(f, &lane->line);
    v->held = (uint32_t)atomic_load(&lane->held);
    v->seconds = (double)(now_ns - lane->since_ns) / 1e9;
    v->rate_hz = rank->rate_hz;
    v->answered = atomic_load(&lane->answered);
    v->late = atomic_load(&lane->late);
    v->failed = atomic_load(&lane->failed);
    v->busy = atomic_load(&lane->busy);
    v->bytes_in = atomic_load(&lane->bytes_in);
    v->bytes_out = atomic_load(&lane->bytes_out);
    for (size_t i = 0; i < KERF_LANE_BATCHES; i++) {
        v->batched[i] = atomic_load(&lane->batched[i]);
        runs += (double)v->batched[i] / (double)(i + 1);
    }
    v->batch_mean = runs <= 0 ? 0 : (double)v->answered / runs;
    s->times =
        v->answered < KERF_LANE_TIMES ? (size_t)v->answered : KERF_LANE_TIMES;
    for (size_t i = 0; i < s->times; i++)
        s->times_us[i] =
            atomic_load_explicit(&lane->times_us[i], memory_order_relaxed);
}

static void
rank_all(kerf_lanes *l, struct rank *ranks, uint64_t now_ns,
         kerf_cloud_view *out)
{
    size_t n = 0;

    for (const kerf_lane *lane = l->first; lane != NULL; lane = lane->next) {
        ranks[n] = (struct rank){lane, rate_of(l, lane, now_ns)};
        out->rate_hz += ranks[n++].rate_hz;
        out->sessions += lane->sessions;
        out->answered += atomic_load(&lane->answered);
        out->failed += atomic_load(&lane->failed);
        out->busy += atomic_load(&lane->busy);
        out->late += atomic_load(&lane->late);
    }
    qsort(ranks, n, sizeof *ranks, compare_ranks);
    out->edges = n;
}

static kerf_err
work_out(const struct seen *seen, kerf_cloud_view *out)
{
    kerf_stats stats;
    kerf_err err = kerf_stats_init(&stats, KERF_LANE_TIMES);

    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < out->shown; i++) {
        kerf_edge_view *v = &out->edge[i];

        *v = seen[i].view;
        stats.used = 0;
        stats.count = 0;
        for (size_t k = 0; k < seen[i].times; k++)
            kerf_stats_add(&stats, seen[i].times_us[k]);
        v->p50_us = kerf_stats_quantile(&stats, 0.5);
        v->p99_us = kerf_stats_quantile(&stats, 0.99);
    }
    kerf_stats_fini(&stats);
    return KERF_OK;
}

kerf_err
kerf_lanes_look(kerf_lanes *l, kerf_fair *f, size_t most, kerf_cloud_view *out)
{
    kerf_cloud_view v;
    struct rank *ranks = NULL;
    struct seen *seen = NULL;
    uint64_t now_ns = kerf_now_ns();
    kerf_err err = KERF_ENOMEM;

    (void)pthread_mutex_lock(&l->lock);
    v = l->past;
    v.edge = NULL;
    v.shown = l->count < most ? l->count : most;
    ranks = calloc(l->count + 1, sizeof *ranks);
    seen = calloc(v.shown + 1, sizeof *seen);
    if (ranks != NULL && seen != NULL) {
        rank_all(l, ranks, now_ns, &v);
        for (size_t i = 0; i < v.shown; i++)
            see(&seen[i], &ranks[i], f, now_ns);
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (ranks != NULL && seen != NULL)
        v.edge = calloc(v.shown + 1, sizeof *v.edge);
    if (v.edge != NULL)
        err = work_out(seen, &v);
    free(ranks);
    free(seen);
    if (err != KERF_OK) {
        kerf_cloud_view_free(&v);
        return err;
    }
    *out = v;
    return KERF_OK;
}

void
kerf_cloud_view_free(kerf_cloud_view *view)
{
    free(view->edge);
    free(view->rollout);
    *view = (kerf_cloud_view){0};
}

#include "bench/split.h"

#include "base/clock.h"
#include "bench/idle.h"
#include "bench/ping.h"
#include "bench/resnet.h"
#include "bench/subject.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EDGE_SETTLE_S 2 /* from the start of an edge until it is idle */
#define WARM_REQUESTS 50

typedef struct series { /* one value per round */
    double v[KERF_SPLIT_ROUNDS_MAX];
} series;

struct rounds { /* of one model */
    series head50, head99, tail50, tail99, tcp50, tcp99, split50, split99;
    series ratio50, hz, limit, ratio_hz, all_hz, all_limit;
};

struct bench {
    const kerf_split_opts *opts;
    char work[KERF_PATH_MAX]; /* temporary; removed at the end */
    char source[KERF_SPLIT_MODELS_MAX][KERF_PATH_MAX]; /* folder of each pair */
    char name[KERF_SPLIT_MODELS_MAX][KERF_NAME_MAX];
    size_t count;
    kerf_engine *engine;
    kerf_subject subject[KERF_SPLIT_MODELS_MAX];
    struct rounds rounds[KERF_SPLIT_MODELS_MAX];
    kerf_stats stats; /* of the measurement under way */
    size_t cores;
    int core;
};

/* Which models. */

static bool
is_wanted(const kerf_split_opts *opts, const char *name)
{
    for (size_t i = 0; i < opts->only_count; i++) {
        if (strcmp(opts->only[i], name) == 0)
            return true;
    }
    return opts->only_count == 0;
}

static void
add_model(struct bench *b, const char *dir, const char *name)
{
    if (!is_wanted(b->opts, name) || b->count == KERF_SPLIT_MODELS_MAX)
        return;
    (void)snprintf(b->source[b->count], KERF_PATH_MAX, "%s", dir);
    (void)snprintf(b->name[b->count], KERF_NAME_MAX, "%s", name);
    b->count++;
}

bool
kerf_bench_digits(char out[KERF_PATH_MAX])
{
    char *slash;
    ssize_t n;

    (void)snprintf(out, KERF_PATH_MAX, "models/digits");
    if (kerf_fs_is_dir(out))
        return true;
    n = readlink("/proc/self/exe", out, KERF_PATH_MAX - 32);
    if (n <= 0)
        return false;
    out[n] = '\0';
    while ((slash = strrchr(out, '/')) != NULL) {
        (void)snprintf(slash, 32, "/models/digits");
        if (kerf_fs_is_dir(out))
            return true;
        *slash = '\0';
    }
    return false;
}

static kerf_err
find_own_models(struct bench *b, kerf_detail *why)
{
    char dir[KERF_PATH_MAX];
    kerf_err err = KERF_OK;

    if (is_wanted(b->opts, "digits")) {
        if (!kerf_bench_digits(dir))
            return kerf_fail(why, KERF_ENOENT,
                             "no models/digits here or above the executable: "
                             "give --models DIR");
        add_model(b, dir, "digits");
    }
    if (is_wanted(b->opts, KERF_RESNET_NAME)) {
        err = kerf_path_join(dir, b->work, "made");
        if (err == KERF_OK)
            err = kerf_fs_mkdirs(dir, why);
        if (err == KERF_OK)
            err = kerf_resnet_write(dir, why);
        add_model(b, dir, KERF_RESNET_NAME);
    }
    return err;
}

static kerf_err
find_models(struct bench *b, kerf_detail *why)
{
    kerf_names names = {0};
    kerf_err err;

    if (b->opts->models == NULL) {
        err = find_own_models(b, why);
    } else {
        err = kerf_pair_names(b->opts->models, &names, why);
        for (size_t i = 0; err == KERF_OK && i < names.count; i++)
            add_model(b, b->opts->models, names.name[i]);
        kerf_names_free(&names);
    }
    for (size_t i = 0; err == KERF_OK && i < b->opts->only_count; i++) {
        bool found = false;

        for (size_t k = 0; k < b->count; k++)
            found |= strcmp(b->opts->only[i], b->name[k]) == 0;
        if (!found) {
            return kerf_fail(why, KERF_ENOENT, "no model %s%s%s",
                             b->opts->only[i],
                             b->opts->models != NULL ? " in " : "",
                             b->opts->models != NULL ? b->opts->models : "");
        }
    }
    if (err == KERF_OK && b->count == 0)
        err = kerf_fail(why, KERF_ENOENT,
                        "%s: no client_infer_* and server_infer_* there",
                        b->opts->models);
    return err;
}

/* Measuring. */

/* Ends what kerf_stats_init() began: both quantiles, in us. */
static void
take_times(struct bench *b, series *p50, series *p99, int round)
{
    p50->v[round] = kerf_stats_quantile(&b->stats, 0.50) / 1000;
    p99->v[round] = kerf_stats_quantile(&b->stats, 0.99) / 1000;
    kerf_stats_fini(&b->stats);
}

/* The same bytes without Kerf, over the same link. */
static kerf_err
time_tcp(struct bench *b, const kerf_subject *s, kerf_detail *why)
{
    char log[KERF_PATH_MAX];
    const kerf_ping_opts opts = {
        .request_bytes = kerf_alone_crossing(&s->alone[0]),
        .answer_bytes = kerf_alone_answer(&s->alone[0]),
        .runs = b->opts->runs,
        .link = b->opts->link,
        .log = log};
    kerf_err err = kerf_path_join(log, b->work, "ping.log");

    return err == KERF_OK ? kerf_ping_run(&b->stats, &opts, why) : err;
}

static kerf_err
time_parts(struct bench *b, kerf_subject *s, struct rounds *r, int round,
           kerf_detail *why)
{
    size_t keep = (size_t)b->opts->runs;
    kerf_err err = kerf_stats_init(&b->stats, keep);

    if (err == KERF_OK)
        err = kerf_half_time(&s->alone[0].head, &b->stats, b->opts->runs, why);
    take_times(b, &r->head50, &r->head99, round);
    if (err == KERF_OK)
        err = kerf_stats_init(&b->stats, keep);
    if (err == KERF_OK)
        err = kerf_half_time(&s->alone[0].tail, &b->stats, b->opts->runs, why);
    take_times(b, &r->tail50, &r->tail99, round);
    if (err == KERF_OK)
        err = kerf_stats_init(&b->stats, keep);
    if (err == KERF_OK)
        err = time_tcp(b, s, why);
    take_times(b, &r->tcp50, &r->tcp99, round);
    return err;
}

static kerf_err
time_split(struct bench *b, kerf_subject *s, struct rounds *r, int round,
           kerf_detail *why)
{
    kerf_edge_run run = {
        .core = KERF_ANY_CORE, .window = 1, .repeat = b->opts->runs};
    kerf_edge_figures f = {0};
    kerf_err err = kerf_subject_edge(s, &s->free, &run, &f, why);

    r->split50.v[round] = f.p50_us;
    r->split99.v[round] = f.p99_us;
    r->ratio50.v[round] = f.p50_us / (r->head50.v[round] + r->tail50.v[round] +
                                      r->tcp50.v[round]);
    return err;
}

static kerf_err
measure_limit(struct bench *b, kerf_subject *s, bool pinned, double *hz,
              kerf_detail *why)
{
    double half = b->opts->seconds / 2;

    return pinned ? kerf_subject_limit(s, half, hz, why)
                  : kerf_alone_rate(s->alone, b->cores, half, hz, why);
}

/* Half of the limit before the split and half after it, so that a machine that
 * gets slower or faster meanwhile favours neither. */
static kerf_err
rate_split(struct bench *b, kerf_subject *s, bool pinned, double split_us,
           double *hz, double *limit_hz, kerf_detail *why)
{
    kerf_edge_run run = {.core = pinned ? b->core : KERF_ANY_CORE,
                         .window = b->opts->window};
    kerf_edge_figures f = {0};
    double before = 0;
    double after = 0;
    kerf_err err = measure_limit(b, s, pinned, &before, why);

    run.repeat = (long)(before * b->opts->seconds) + run.window;
    if (b->opts->link != NULL) /* as many as one by one, at least */
        run.repeat = run.window + (long)(b->opts->seconds * 1e6 / split_us);
    if (err == KERF_OK)
        err =
            kerf_subject_edge(s, pinned ? &s->pinned : &s->free, &run, &f, why);
    if (err == KERF_OK)
        err = measure_limit(b, s, pinned, &after, why);
    *hz = f.hz;
    *limit_hz = (before + after) / 2;
    return err;
}

static kerf_err
do_round(struct bench *b, size_t model, int round, kerf_detail *why)
{
    kerf_subject *s = &b->subject[model];
    struct rounds *r = &b->rounds[model];
    kerf_err err;

    if (kerf_bench_interrupted())
        return kerf_fail(why, KERF_EINTR, "interrupted");
    kerf_progress_say(&b->opts->progress, "round %d of %d: %s", round + 1,
                      b->opts->rounds, s->name);
    err = time_parts(b, s, r, round, why);
    if (err == KERF_OK)
        err = time_split(b, s, r, round, why);
    if (err == KERF_OK)
        err = rate_split(b, s, true, r->split50.v[round], &r->hz.v[round],
                         &r->limit.v[round], why);
    if (err == KERF_OK)
        err = rate_split(b, s, false, r->split50.v[round], &r->all_hz.v[round],
                         &r->all_limit.v[round], why);
    if (err == KERF_OK)
        r->ratio_hz.v[round] = r->hz.v[round] / r->limit.v[round];
    return err;
}

/* Idling. */

static kerf_err
nap(double seconds, kerf_detail *why)
{
    uint64_t until_ns = kerf_now_ns() + (uint64_t)(seconds * 1e9);

    while (kerf_now_ns() < until_ns) {
        if (kerf_bench_interrupted())
            return kerf_fail(why, KERF_EINTR, "interrupted");
        (void)usleep(50000);
    }
    return KERF_OK;
}

static kerf_err
idle_edge(struct bench *b, kerf_subject *s, kerf_served_at *at,
          kerf_split_idle *idle, kerf_detail *why)
{
    kerf_child edge = {0};
    uint64_t cpu_ns = 0;
    kerf_err err = kerf_subject_idle_edge(s, at, &edge, why);

    if (err == KERF_OK)
        err = nap(EDGE_SETTLE_S, why);
    cpu_ns = kerf_child_cpu_ns(&edge);
    if (err == KERF_OK)
        err = nap(b->opts->idle_seconds, why);
    if (err == KERF_OK && cpu_ns == 0)
        err = kerf_fail(why, KERF_ECLOSED, "the idle edge ended");
    idle->edge_cpu_percent = (double)(kerf_child_cpu_ns(&edge) - cpu_ns) /
                             (b->opts->idle_seconds * 1e7);
    kerf_child_stop(&edge);
    return err;
}

/* A cloud of its own, that has served: what it needs for work in any case does
 * not count as growth. */
static kerf_err
measure_idle(struct bench *b, kerf_split_idle *idle, kerf_detail *why)
{
    kerf_subject *s = &b->subject[0];
    kerf_served_at at = {0};
    kerf_edge_run warm = {.core = KERF_ANY_CORE,
                          .window = b->opts->window,
                          .repeat = WARM_REQUESTS};
    kerf_idle_opts o = {.cloud = &at.child,
                        .host = "127.0.0.1",
                        .edges = (size_t)b->opts->idle_edges,
                        .seconds = b->opts->idle_seconds};
    kerf_edge_figures f;
    kerf_idle seen = {0};
    kerf_err err;

    kerf_progress_say(&b->opts->progress, "idle: %d edges",
                      b->opts->idle_edges);
    err = kerf_subject_cloud(s, &at, KERF_ANY_CORE, why);
    if (err == KERF_OK)
        err = kerf_subject_edge(s, &at, &warm, &f, why);
    o.port = at.port;
    if (err == KERF_OK)
        err = kerf_idle_run(&seen, &o, why);
    idle->cloud_cpu_percent = seen.cpu_percent;
    idle->cloud_kib_per_edge = seen.rss_kib;
    if (err == KERF_OK)
        err = idle_edge(b, s, &at, idle, why);
    kerf_subject_stop(&at);
    return err;
}

/* Results. */

static kerf_spread
spread_of(const series *s, int rounds)
{
    series sorted = *s;

    return kerf_spread_of(sorted.v, (size_t)rounds);
}

static kerf_times
times_of(const series *p50, const series *p99, int rounds)
{
    return (kerf_times){.p50 = spread_of(p50, rounds),
                        .p99 = spread_of(p99, rounds).median};
}

static void
fill_result(const struct bench *b, size_t model, kerf_split_result *out)
{
    const struct rounds *r = &b->rounds[model];
    const kerf_subject *s = &b->subject[model];
    int n = b->opts->rounds;

    *out =
        (kerf_split_result){.crossing_bytes = kerf_alone_crossing(&s->alone[0]),
                            .answer_bytes = kerf_alone_answer(&s->alone[0]),
                            .head = times_of(&r->head50, &r->head99, n),
                            .tail = times_of(&r->tail50, &r->tail99, n),
                            .raw_tcp = times_of(&r->tcp50, &r->tcp99, n),
                            .split = times_of(&r->split50, &r->split99, n),
                            .ratio_p50 = spread_of(&r->ratio50, n),
                            .throughput_hz = spread_of(&r->hz, n),
                            .limit_hz = spread_of(&r->limit, n),
                            .ratio_throughput = spread_of(&r->ratio_hz, n),
                            .cores = (int)b->cores,
                            .all_throughput_hz = spread_of(&r->all_hz, n),
                            .all_limit_hz = spread_of(&r->all_limit, n)};
    (void)snprintf(out->model, sizeof out->model, "%s", s->name);
}

/* Setting up and clearing away. */

/* The cores that we may use, and of them the last: the first ones serve most
 * interrupts. */
static void
look_at_cores(struct bench *b)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_SET(0, &set);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET((size_t)i, &set))
            continue;
        b->core = i;
        b->cores += b->cores < KERF_SPLIT_CORES_MAX;
    }
}

static kerf_err
set_up(struct bench *b, kerf_detail *why)
{
    const kerf_engine_opts eo = {0};
    kerf_err err;

    look_at_cores(b);
    err = kerf_work_make(b->work, NULL, why);
    if (err == KERF_OK)
        err = find_models(b, why);
    if (err == KERF_OK)
        err = kerf_engine_open(&b->engine, &eo, why);
    for (size_t i = 0; err == KERF_OK && i < b->count; i++) {
        const kerf_subject_opts so = {.dir = b->source[i],
                                      .work = b->work,
                                      .name = b->name[i],
                                      .engine = b->engine,
                                      .cores = b->cores,
                                      .core = b->core,
                                      .link = b->opts->link};

        kerf_progress_say(&b->opts->progress, "loading %s", b->name[i]);
        err = kerf_subject_init(&b->subject[i], &so, why);
    }
    return err;
}

static void
clear_away(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++)
        kerf_subject_fini(&b->subject[i]);
    kerf_engine_close(b->engine);
    kerf_work_remove(b->work);
    free(b);
}

kerf_err
kerf_bench_split(const kerf_split_opts *opts, kerf_split_result *result,
                 size_t *count, kerf_split_idle *idle, kerf_detail *why)
{
    struct bench *b = calloc(1, sizeof *b);
    kerf_err err;

    *count = 0;
    *idle = (kerf_split_idle){0};
    if (b == NULL)
        return KERF_ENOMEM;
    b->opts = opts;
    err = set_up(b, why);
    for (int round = 0; err == KERF_OK && round < opts->rounds; round++) {
        for (size_t i = 0; err == KERF_OK && i < b->count; i++)
            err = do_round(b, i, round, why);
    }
    if (err == KERF_OK && opts->idle_edges > 0)
        err = measure_idle(b, idle, why);
    for (size_t i = 0; err == KERF_OK && i < b->count; i++)
        fill_result(b, i, &result[(*count)++]);
    clear_away(b);
    if (err != KERF_OK && kerf_bench_interrupted()) /* whatever it broke */
        err = kerf_fail(why, KERF_EINTR, "interrupted");
    return err;
}

#include "cloud/cloud.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/thread.h"
#include "cloud/ahead.h"
#include "cloud/control.h"
#include "cloud/here.h"
#include "cloud/signed.h"
#include "net/local.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_SPARE 64 /* for all but edges */
#define NEW_SPARE 64   /* connections that may wait for their first frame */
#define DRAIN_MS 5000
#define DEAD_MS 5000
#define WORKERS_MOST 4 /* unless more are asked for */

static void
fill_defaults(kerf_cloud *cloud)
{
    kerf_cloud_opts *o = &cloud->opts;
    int cores = kerf_thread_cores();

    cloud->has_cores = cores > 1;
    if (o->workers <= 0) /* each costs a network per model in memory */
        o->workers = cores > WORKERS_MOST ? WORKERS_MOST : cores;
    cloud->may_linger = cloud->has_cores && o->workers <= cores;
    o->window = o->window > 0 ? o->window : 16;
    o->queue = o->queue > 0 ? o->queue : 64;
    if (o->dead_after_ms <= 0 && o->heartbeat_ms <= 0)
        o->dead_after_ms = DEAD_MS;
    if (o->heartbeat_ms <= 0)
        o->heartbeat_ms = o->dead_after_ms / 3;
    if (o->heartbeat_ms < KERF_HEARTBEAT_MIN_MS)
        o->heartbeat_ms = KERF_HEARTBEAT_MIN_MS;
    if (o->dead_after_ms <= 0)
        o->dead_after_ms = 3 * o->heartbeat_ms;
    o->edges_max = o->edges_max > 0 ? o->edges_max : 4096;
}

static void
on_changed(void *ctx, kerf_served *s, kerf_served *old)
{
    kerf_cloud *cloud = ctx;

    if (cloud->events.model != NULL) {
        cloud->events.model(
            cloud->events.ctx, (s != NULL ? s : old)->manifest.name,
            s != NULL ? s->id : "", s != NULL ? KERF_OK : KERF_ENOENT,
            s != NULL ? NULL : "removed from the folder");
    }
    kerf_rollouts_changed(cloud->rollouts, s, old);
    if (s != NULL)
        kerf_signed_tell(cloud, s);
}

static void
on_keep(void *ctx, const kerf_pair *pair, int64_t newest_ns)
{
    kerf_rollouts_keep(((kerf_cloud *)ctx)->rollouts, pair, newest_ns);
}

static bool
on_before(void *ctx, const char *name, const char *id, char dir[KERF_PATH_MAX])
{
    return kerf_rollouts_before(((kerf_cloud *)ctx)->rollouts, name, id, dir);
}

static bool
on_kept(void *ctx, const char *name, char dir[KERF_PATH_MAX], kerf_signed *sig)
{
    return kerf_rollouts_kept(((kerf_cloud *)ctx)->rollouts, name, dir, sig);
}

static void
on_signed_again(void *ctx, kerf_served *old)
{
    kerf_cloud *cloud = ctx;

    kerf_rollouts_signed_again(cloud->rollouts, old);
    kerf_signed_tell(cloud, old);
}

static void
on_offer(void *ctx, kerf_served *s)
{
    kerf_sessions_offer(ctx, s);
}

static void
on_stirred(void *ctx) /* on any thread */
{
    kerf_cloud *cloud = ctx;

    kerf_loop_post(cloud->loop, &cloud->stirred);
}

static void
on_stirred_turn(void *ctx)
{
    kerf_sessions_offer(ctx, NULL);
}

static void
on_rollout(void *ctx, const kerf_rollout_view *view)
{
    const kerf_cloud *cloud = ctx;

    if (cloud->events.rollout != NULL)
        cloud->events.rollout(cloud->events.ctx, view);
}

static void
on_failed(void *ctx, const char *name, kerf_err err, const char *why)
{
    kerf_cloud *cloud = ctx;

    if (cloud->events.model != NULL)
        cloud->events.model(cloud->events.ctx, name, "", err, why);
}

static void
on_accept(void *ctx, int fd)
{
    kerf_session_accept(ctx, fd);
}

static void
on_trust(void *ctx)
{
    kerf_sessions_recheck(ctx);
}

static void
on_sweep(void *ctx)
{
    kerf_sessions_sweep(ctx);
}

static void
on_drained(void *ctx)
{
    kerf_cloud *cloud = ctx;

    if (atomic_load(&cloud->in_flight) == 0)
        kerf_loop_stop(cloud->loop);
}

static void
on_drain_timeout(void *ctx)
{
    kerf_cloud *cloud = ctx;

    kerf_log(KERF_LOG_WARN, "cloud.drain_timeout", "in_flight=%zu",
             (size_t)atomic_load(&cloud->in_flight));
    kerf_loop_stop(cloud->loop);
}

static void
on_alive(void *ctx)
{
    kerf_cloud *cloud = ctx;

    cloud->events.alive(cloud->events.ctx,
                        kerf_busy_ms(cloud->busy, cloud->workers));
}

static void
on_hangup(void *ctx)
{
    kerf_cloud *cloud = ctx;

    kerf_registry_look(cloud->registry);
    cloud->events.reload(cloud->events.ctx);
}

static void
start_drain(kerf_cloud *cloud)
{
    if (atomic_exchange(&cloud->draining, true))
        return;
    if (cloud->events.stopping != NULL)
        cloud->events.stopping(cloud->events.ctx);
    kerf_listener_free(cloud->listener);
    cloud->listener = NULL;
    kerf_sessions_bye(cloud, "the cloud is stopping");
    kerf_timer_start(cloud->drain_timeout, DRAIN_MS, 0);
    kerf_loop_post(cloud->loop, &cloud->drained);
}

static void
on_stop(void *ctx)
{
    start_drain(ctx);
}

static void
on_signal(void *ctx, int nth)
{
    if (nth > 1)
        _exit(1);
    start_drain(ctx);
}

/* Each edge needs two. Those that have not said what they are get a quarter at
 * most: they must not use all up. */
static void
raise_files(kerf_cloud *cloud)
{
    const kerf_cloud_opts *o = &cloud->opts;
    size_t files = kerf_fs_raise_files();
    size_t wanted = (size_t)o->edges_max + NEW_SPARE;
    size_t most = files > FILES_SPARE ? (files - FILES_SPARE) / 2 : 0;

    cloud->new_most = files / 4 < wanted ? files / 4 + 1 : wanted;
    if (most < (size_t)o->edges_max) {
        kerf_log(KERF_LOG_WARN, "cloud.few_files",
                 "open_files=%zu edges=%zu max_edges=%d then=\"more edges wait "
                 "until "
                 "others go; raise the hard limit (ulimit -Hn), or lower "
                 "--max-edges\"",
                 files, most, o->edges_max);
    }
}

static kerf_err
check_folder(const char *dir, kerf_detail *why)
{
    if (kerf_fs_is_dir(dir))
        return KERF_OK;
    return kerf_fs_mkdirs(dir, why);
}

/* One that was not asked for by its path is no reason not to serve. */
static kerf_err
start_control(kerf_cloud *cloud, kerf_detail *why)
{
    bool is_given = cloud->opts.control[0] != '\0';
    char path[KERF_LOCAL_PATH];
    kerf_err err;

    if (is_given)
        return kerf_control_start(&cloud->control, cloud, cloud->opts.control,
                                  why);
    err = kerf_local_path(path, cloud->opts.host,
                          kerf_listener_port(cloud->listener), why);
    if (err == KERF_OK)
        err = kerf_control_start(&cloud->control, cloud, path, why);
    if (err != KERF_OK)
        kerf_log(KERF_LOG_WARN, "cloud.no_control", "why=%s",
                 KERF_Q(why->text));
    return KERF_OK;
}

static uint64_t
wait_ns(double hours)
{
    return (uint64_t)((hours > 0 ? hours : 24) * 3600e9);
}

static kerf_err
open_rollouts(kerf_cloud *cloud, kerf_detail *why)
{
    const kerf_cloud_opts *o = &cloud->opts;
    bool staged = o->rollout > 0;
    kerf_rollouts_opts opts = {.percent = staged ? o->rollout : 100,
                               .halt = staged ? o->rollout_halt : -1,
                               .wait_ns = wait_ns(o->rollout_wait_h),
                               .soak_ns =
                                   (uint64_t)(o->rollout_soak_min * 6e10),
                               .dir = o->rollout_dir,
                               .ctx = cloud,
                               .stirred = on_stirred,
                               .event = on_rollout};

    return kerf_rollouts_new(&cloud->rollouts, &opts, why);
}

/* TLS, and the port. */
static kerf_err
open_door(kerf_cloud *cloud, kerf_detail *why)
{
    kerf_reach reach =
        cloud->opts.insecure ? KERF_REACH_INSECURE : KERF_REACH_HERE;

    if (cloud->opts.tls != NULL) {
        kerf_err err =
            kerf_tls_folder_open(&cloud->tls, cloud->loop, cloud->opts.tls,
                                 KERF_SIDE_CLOUD, on_trust, cloud, why);

        if (err != KERF_OK)
            return err;
        reach = KERF_REACH_ALL;
    }
    return kerf_listen(&cloud->listener, cloud->loop, cloud->opts.host,
                       cloud->opts.port, reach, on_accept, cloud, why);
}

static kerf_err
open_registry(kerf_cloud *cloud, kerf_detail *why)
{
    kerf_registry_opts opts = {
        .dir = cloud->opts.models,
        .maker = cloud->opts.maker,
        .engine = cloud->engine,
        .served = {.workers = (size_t)cloud->opts.workers,
                   .slots = (size_t)cloud->opts.queue,
                   .batch = (size_t)cloud->opts.batch,
                   .shares_tail = cloud->opts.share_tail,
                   .packs = cloud->opts.model_codec != KERF_MODEL_CODEC_RAW},
        .ctx = cloud,
        .changed = on_changed,
        .failed = on_failed,
        .keep = on_keep,
        .before = on_before,
        .kept = on_kept,
        .signed_again = on_signed_again,
        .offer = on_offer};

    return kerf_registry_new(&cloud->registry, cloud->loop, &opts, why);
}

/* Signals, and who watches over us. */
static kerf_err
open_watch(kerf_cloud *cloud)
{
    kerf_err err = KERF_OK;

    if (cloud->opts.handle_signals)
        err = kerf_loop_on_signal(cloud->loop, on_signal, cloud);
    if (err == KERF_OK && cloud->opts.handle_signals &&
        cloud->events.reload != NULL)
        err = kerf_loop_on_hangup(cloud->loop, on_hangup, cloud);
    if (err == KERF_OK && cloud->events.alive != NULL &&
        cloud->opts.alive_ms > 0)
        err = kerf_timer_new(&cloud->alive, cloud->loop, on_alive, cloud);
    return err;
}

static kerf_err
open_parts(kerf_cloud *cloud, kerf_detail *why)
{
    kerf_err err = kerf_loop_new(&cloud->loop);

    cloud->tokens = calloc(1, sizeof *cloud->tokens);
    if (cloud->tokens == NULL)
        err = KERF_ENOMEM;
    if (err == KERF_OK)
        err = kerf_lanes_init(&cloud->lanes);
    if (err == KERF_OK)
        err = kerf_timer_new(&cloud->sweep, cloud->loop, on_sweep, cloud);
    if (err == KERF_OK) {
        err = kerf_timer_new(&cloud->drain_timeout, cloud->loop,
                             on_drain_timeout, cloud);
    }
    if (err == KERF_OK)
        err = open_door(cloud, why);
    if (err == KERF_OK && cloud->opts.maker == NULL)
        err = check_folder(cloud->opts.models, why);
    if (err == KERF_OK)
        err = kerf_engine_open(&cloud->engine, &cloud->opts.engine, why);
    if (err == KERF_OK)
        err = open_rollouts(cloud, why);
    if (err == KERF_OK)
        err = open_registry(cloud, why);
    if (err == KERF_OK)
        err = kerf_signed_watch(cloud);
    if (err == KERF_OK)
        err = kerf_workers_start(cloud, why);
    if (err == KERF_OK)
        err = kerf_ahead_start(cloud, why);
    if (err == KERF_OK)
        err = kerf_here_start(cloud);
    if (err == KERF_OK && cloud->opts.control != NULL)
        err = start_control(cloud, why);
    if (err == KERF_OK)
        err = open_watch(cloud);
    return err;
}

kerf_err
kerf_cloud_open(kerf_cloud **out, const kerf_cloud_opts *opts,
                const kerf_cloud_events *events, kerf_detail *why)
{
    kerf_cloud *cloud = calloc(1, sizeof *cloud);
    kerf_err err;

    if (cloud == NULL)
        return KERF_ENOMEM;
    cloud->opts = *opts;
    cloud->events = *events;
    cloud->since_ns = kerf_now_ns();
    fill_defaults(cloud);
    raise_files(cloud);
    cloud->stop = (kerf_post){.fn = on_stop, .ctx = cloud};
    cloud->drained = (kerf_post){.fn = on_drained, .ctx = cloud};
    cloud->stirred = (kerf_post){.fn = on_stirred_turn, .ctx = cloud};
    if (gethostname(cloud->name, sizeof cloud->name - 1) != 0)
        (void)snprintf(cloud->name, sizeof cloud->name, "cloud");
    err = open_parts(cloud, why);
    if (err != KERF_OK) {
        kerf_cloud_close(cloud);
        return err;
    }
    *out = cloud;
    return KERF_OK;
}

void
kerf_cloud_run(kerf_cloud *cloud)
{
    kerf_thread_begin("kerf-loop");
    kerf_registry_start(cloud->registry);
    if (cloud->alive != NULL)
        kerf_timer_start(cloud->alive, 0, (uint64_t)cloud->opts.alive_ms);
    if (cloud->events.listening != NULL)
        cloud->events.listening(cloud->events.ctx, cloud->opts.host,
                                kerf_listener_port(cloud->listener));
    kerf_loop_run(cloud->loop);
}

void
kerf_cloud_stop(kerf_cloud *cloud)
{
    kerf_loop_post(cloud->loop, &cloud->stop);
}

/* False: a disk hangs. What is written is whole or not there, whenever the
 * process ends. */
static bool
stop_disk_threads(kerf_cloud *cloud)
{
    bool loads = !kerf_registry_stop(cloud->registry);
    bool keeps = !kerf_rollouts_stop(cloud->rollouts);

    if (loads || keeps) {
        kerf_log(KERF_LOG_WARN, "cloud.disk_hangs", "where=%s",
                 keeps ? "--rollout-dir"
                       : "the folder of models, or --rollout-dir");
    }
    return !loads && !keeps;
}

void
kerf_cloud_close(kerf_cloud *cloud)
{
    if (cloud == NULL)
        return;
    kerf_control_stop(cloud->control);
    kerf_ahead_stop(cloud);
    kerf_workers_stop(cloud);
    kerf_here_stop(cloud);
    kerf_sessions_close(cloud);
    kerf_loop_flush(cloud->loop); /* chunks that were on their way */
    if (!stop_disk_threads(cloud))
        return; /* they use what is here; the process ends */
    kerf_registry_free(cloud->registry);
    kerf_rollouts_free(cloud->rollouts);
    kerf_listener_free(cloud->listener);
    kerf_tls_folder_close(cloud->tls);
    kerf_timer_free(cloud->sweep);
    kerf_timer_free(cloud->signed_ends);
    kerf_timer_free(cloud->drain_timeout);
    kerf_timer_free(cloud->alive);
    kerf_loop_free(cloud->loop);
    kerf_engine_close(cloud->engine);
    kerf_lanes_fini(&cloud->lanes);
    free(cloud->tokens);
    free(cloud);
}

kerf_err
kerf_cloud_look(kerf_cloud *cloud, size_t most, kerf_cloud_view *out)
{
    kerf_err err = kerf_lanes_look(&cloud->lanes, cloud->jobs, most, out);

    if (err != KERF_OK)
        return err;
    out->seconds = (double)(kerf_now_ns() - cloud->since_ns) / 1e9;
    out->workers = cloud->workers;
    out->queued = kerf_fair_count(cloud->jobs);
    out->drain_ms =
        (double)kerf_fair_cost_ns(cloud->jobs) / (double)cloud->workers / 1e6;
    out->draining = atomic_load(&cloud->draining);
    err = kerf_rollouts_look(cloud->rollouts, NULL, &out->rollout,
                             &out->rollouts, NULL);
    if (err != KERF_OK)
        kerf_cloud_view_free(out);
    return err;
}

kerf_err
kerf_cloud_rollouts(kerf_cloud *cloud, const char *model,
                    kerf_rollout_view **out, size_t *count, kerf_detail *why)
{
    return kerf_rollouts_look(cloud->rollouts, model, out, count, why);
}

kerf_err
kerf_cloud_rollout(kerf_cloud *cloud, const char *model,
                   kerf_rollout_command what, double percent, kerf_detail *why)
{
    kerf_err err =
        kerf_rollouts_command(cloud->rollouts, model, what, percent, why);

    kerf_registry_look(cloud->registry); /* the old one may be signed anew */
    return err;
}

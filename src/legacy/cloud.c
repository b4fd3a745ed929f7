#include "legacy/cloud.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_MS 200 /* after the last change in the folder */
#define EDGES_MAX 4096

static void
tell_model(const kerf_legacy_cloud *cloud, const char *name, const char *id,
           kerf_err err, const kerf_detail *why)
{
    const kerf_cloud_events *e = &cloud->events;

    if (e->model != NULL) {
        e->model(e->ctx, name, id, err,
                 err == KERF_OK         ? ""
                 : why->text[0] != '\0' ? why->text
                                        : kerf_err_text(err));
    }
}

static size_t
find_tail(const kerf_legacy_cloud *cloud, const char *name)
{
    size_t i = 0;

    while (i < cloud->tail_count &&
           strcmp(cloud->tail[i]->pair.manifest.name, name) != 0)
        i++;
    return i;
}

/* A pair that cannot be loaded leaves the old one in place. */
static void
load_one(kerf_legacy_cloud *cloud, const char *name)
{
    kerf_legacy_tail *t = NULL;
    kerf_detail why = {{0}};
    size_t at = find_tail(cloud, name);
    kerf_err err = kerf_legacy_tail_load(&t, cloud->engine, cloud->opts.models,
                                         name, &why);

    if (err != KERF_OK) {
        tell_model(cloud, name, "", err, &why);
        return;
    }
    if (at < cloud->tail_count) {
        kerf_legacy_tail_unref(cloud->tail[at]);
    } else if (cloud->tail_count < KERF_MODELS_MAX) {
        cloud->tail_count++;
    } else {
        kerf_legacy_tail_unref(t);
        return;
    }
    cloud->tail[at] = t;
    tell_model(cloud, name, t->id, KERF_OK, &why);
    kerf_legacy_ship(cloud, t);
}

static bool
is_listed(const kerf_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->name[i], name) == 0)
            return true;
    }
    return false;
}

static void
forget_removed(kerf_legacy_cloud *cloud, const kerf_names *names)
{
    for (size_t i = 0; i < cloud->known_count;) {
        size_t at = find_tail(cloud, cloud->known[i].name);

        if (is_listed(names, cloud->known[i].name)) {
            i++;
            continue;
        }
        if (at < cloud->tail_count) {
            kerf_legacy_tail_unref(cloud->tail[at]);
            cloud->tail[at] = cloud->tail[--cloud->tail_count];
        }
        cloud->known[i] = cloud->known[--cloud->known_count];
    }
}

/* Whether the pair changed since it was last looked at; remembers it. */
static bool
has_changed(kerf_legacy_cloud *cloud, const char *name)
{
    int64_t newest_ns = 0;
    uint64_t stamp = kerf_pair_stamp(cloud->opts.models, name, &newest_ns);
    size_t i = 0;

    while (i < cloud->known_count && strcmp(cloud->known[i].name, name) != 0)
        i++;
    if (i == KERF_MODELS_MAX ||
        (i < cloud->known_count && cloud->known[i].stamp == stamp))
        return false;
    if (i == cloud->known_count)
        cloud->known_count++;
    (void)snprintf(cloud->known[i].name, sizeof cloud->known[i].name, "%s",
                   name);
    cloud->known[i].stamp = stamp;
    return true;
}

static kerf_err
scan(kerf_legacy_cloud *cloud, kerf_detail *why)
{
    kerf_names names = {0};
    kerf_err err = kerf_pair_names(cloud->opts.models, &names, why);

    if (err != KERF_OK)
        return err;
    forget_removed(cloud, &names);
    for (size_t i = 0; i < names.count; i++) {
        if (has_changed(cloud, names.name[i]))
            load_one(cloud, names.name[i]);
    }
    kerf_names_free(&names);
    return KERF_OK;
}

static void
on_folder(void *ctx)
{
    kerf_detail why = {{0}};

    if (scan(ctx, &why) != KERF_OK)
        kerf_log(KERF_LOG_WARN, "legacy.scan_failed", "why=%s",
                 KERF_Q(why.text));
}

static void
on_signal(void *ctx, int nth)
{
    kerf_legacy_cloud *cloud = ctx;

    if (nth > 1)
        _exit(1);
    kerf_loop_stop(cloud->loop);
}

static bool
counts(void *ctx, const char *name)
{
    (void)ctx;
    return kerf_pair_has_name(name);
}

static kerf_err
start(kerf_legacy_cloud *cloud, const char *edge_host, int edge_port,
      kerf_detail *why)
{
    const kerf_cloud_opts *o = &cloud->opts;
    kerf_err err = kerf_engine_open(&cloud->engine, &o->engine, why);

    if (err == KERF_OK)
        err = kerf_loop_new(&cloud->loop);
    if (err == KERF_OK && o->handle_signals)
        err = kerf_loop_on_signal(cloud->loop, on_signal, cloud);
    if (err == KERF_OK)
        err = kerf_folder_watch_new(&cloud->watch, cloud->loop, o->models,
                                    QUIET_MS, 0, counts, on_folder, cloud, why);
    if (err == KERF_OK)
        err = kerf_listen(&cloud->listener, cloud->loop, o->host, o->port,
                          o->insecure ? KERF_REACH_INSECURE : KERF_REACH_HERE,
                          kerf_legacy_ship_accept, cloud, why);
    if (err != KERF_OK)
        return err;
    if (cloud->events.listening != NULL)
        cloud->events.listening(cloud->events.ctx, o->host,
                                kerf_listener_port(cloud->listener));
    err = scan(cloud, why);
    if (err == KERF_OK)
        err = kerf_legacy_take_start(cloud, edge_host, edge_port);
    return err;
}

kerf_err
kerf_legacy_cloud_run(const kerf_cloud_opts *opts, const char *edge_host,
                      int edge_port, const kerf_cloud_events *events,
                      kerf_detail *why)
{
    kerf_legacy_cloud *cloud = calloc(1, sizeof *cloud);
    kerf_err err;

    if (cloud == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    cloud->opts = *opts;
    if (opts->edges_max <= 0)
        cloud->opts.edges_max = EDGES_MAX;
    cloud->events = *events;
    cloud->taker.fd = -1;
    err = start(cloud, edge_host, edge_port, why);
    if (err == KERF_OK)
        kerf_loop_run(cloud->loop);
    kerf_listener_free(cloud->listener);
    kerf_legacy_take_close(cloud);
    kerf_legacy_ship_close(cloud);
    kerf_folder_watch_free(cloud->watch);
    kerf_loop_free(cloud->loop);
    for (size_t i = 0; i < cloud->tail_count; i++)
        kerf_legacy_tail_unref(cloud->tail[i]);
    kerf_engine_close(cloud->engine);
    free(cloud);
    return err;
}

#include "bench/link.h"

#include "bench/relay.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST "127.0.0.1"
#define MODEL "tensor"
#define START_MS 60000
#define TIMES_MOST 20.0 /* the expected time, until a request is given up */
#define WARM 1          /* requests that do not count */

static kerf_err
put(const char *dir, const char *name, const char *text, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, name);

    return err == KERF_OK ? kerf_fs_write(path, text, strlen(text), why) : err;
}

/* A pair of the fake engine whose tensor has so many bytes. */
static kerf_err
write_pair(const char *dir, size_t bytes, kerf_detail *why)
{
    size_t width = bytes / 4;
    char head[512];
    char tail[512];
    kerf_err err = kerf_fs_mkdirs(dir, why);

    (void)snprintf(head, sizeof head,
                   "{\"kerf_fake\":1,\"inputs\":[{\"name\":\"x\",\"shape\":[1,"
                   "48]}],\"outputs\":[{\"name\":\"h\",\"shape\":[1,%zu],"
                   "\"seed\":7}]}",
                   width);
    (void)snprintf(tail, sizeof tail,
                   "{\"kerf_fake\":1,\"inputs\":[{\"name\":\"h\",\"shape\":[1,"
                   "%zu]}],\"outputs\":[{\"name\":\"y\",\"shape\":[1,10]}]}",
                   width);
    if (err == KERF_OK)
        err = put(dir, "client_infer_" MODEL ".pdmodel", head, why);
    if (err == KERF_OK)
        err = put(dir, "client_infer_" MODEL ".pdiparams", "head", why);
    if (err == KERF_OK)
        err = put(dir, "server_infer_" MODEL ".pdmodel", tail, why);
    if (err == KERF_OK)
        err = put(dir, "server_infer_" MODEL ".pdiparams", "tail", why);
    return err;
}

struct processes {
    kerf_child cloud, edge;
    kerf_relay relay;
    char work[KERF_PATH_MAX], models[KERF_PATH_MAX], store[KERF_PATH_MAX];
    char log[3][KERF_PATH_MAX];
};

static kerf_err
start_cloud(struct processes *p, int *port, kerf_detail *why)
{
    const char *argv[] = {"kerf",     "cloud",   "--engine",     "fake",
                          "--models", p->models, "--cloud_host", HOST,
                          "--quiet",  "--json",  "--cloud_port", "0",
                          NULL};
    const char *line = NULL;
    json_t *o;
    kerf_err err =
        kerf_child_start(&p->cloud, argv, KERF_ANY_CORE, p->log[0], why);

    if (err == KERF_OK)
        err = kerf_child_event(&p->cloud, "listening", START_MS, &line, why);
    if (err != KERF_OK)
        return err;
    o = json_loads(line, 0, NULL);
    *port = (int)json_integer_value(json_object_get(o, "port"));
    json_decref(o);
    return KERF_OK;
}

static kerf_err
start_edge(struct processes *p, int requests, kerf_detail *why)
{
    char port[16];
    char repeat[16];
    const char *argv[] = {"kerf",         "edge", "--engine", "fake",
                          "--cloud_host", HOST,   "--store",  p->store,
                          "--cloud_port", port,   "--input",  "random",
                          "--repeat",     repeat, "--window", "1",
                          "--codec",      "raw",  "--json",   "--once",
                          "--rate",       "1000", NULL};

    (void)snprintf(port, sizeof port, "%d", p->relay.port);
    (void)snprintf(repeat, sizeof repeat, "%d", requests);
    return kerf_child_start(&p->edge, argv, KERF_ANY_CORE, p->log[2], why);
}

static kerf_err
start_all(struct processes *p, const kerf_link_timing *opts, kerf_detail *why)
{
    static const char *const logs[] = {"cloud.log", "link.log", "edge.log"};
    int port = 0;
    kerf_err err = kerf_work_make(p->work, NULL, why);

    if (err == KERF_OK)
        err = kerf_path_join(p->models, p->work, "models");
    if (err == KERF_OK)
        err = kerf_path_join(p->store, p->work, "store");
    for (int i = 0; i < 3 && err == KERF_OK; i++)
        err = kerf_path_join(p->log[i], p->work, logs[i]);
    if (err == KERF_OK)
        err = write_pair(p->models, opts->bytes, why);
    if (err == KERF_OK)
        err = start_cloud(p, &port, why);
    if (err == KERF_OK)
        err = kerf_relay_start(&p->relay, opts->spec, port, p->log[1], why);
    if (err == KERF_OK)
        err = start_edge(p, opts->rounds + WARM, why);
    return err;
}

/* The two stages on the link, in ms, of one answer. */
static kerf_err
take_answer(const char *line, size_t bytes, double *ms, kerf_detail *why)
{
    json_t *o = json_loads(line, 0, NULL);
    const json_t *stages = json_object_get(o, "stages_us");
    double us = json_number_value(json_object_get(stages, "uplink")) +
                json_number_value(json_object_get(stages, "downlink"));
    json_int_t crossed = json_integer_value(json_object_get(o, "coded_bytes"));

    json_decref(o);
    if (us <= 0 || crossed != (json_int_t)bytes)
        return kerf_fail(why, KERF_EPROTO,
                         "kerf edge: an answer without its times or bytes");
    *ms = us / 1e3;
    return KERF_OK;
}

static kerf_err
time_answers(struct processes *p, const kerf_link_timing *opts,
             kerf_link_timed *out, double *ms, kerf_detail *why)
{
    int patience_ms = START_MS + (int)(TIMES_MOST * out->expected_ms);
    kerf_err err = KERF_OK;

    for (int i = -WARM; i < opts->rounds && err == KERF_OK; i++) {
        const char *line = NULL;
        double dropped;

        err = kerf_child_event(&p->edge, "result", patience_ms, &line, why);
        kerf_child_drain(&p->cloud);
        if (err == KERF_OK)
            err =
                take_answer(line, opts->bytes, i < 0 ? &dropped : &ms[i], why);
    }
    if (err == KERF_OK)
        err = kerf_child_wait(&p->edge, START_MS, why);
    if (err == KERF_OK)
        out->ms = kerf_spread_of(ms, (size_t)opts->rounds);
    return err;
}

kerf_err
kerf_bench_link(kerf_link_timed *out, const kerf_link_timing *opts,
                kerf_detail *why)
{
    struct processes *p = calloc(1, sizeof *p); /* some 100 KB */
    double *ms = calloc((size_t)opts->rounds, sizeof *ms);
    kerf_err err = p != NULL && ms != NULL ? KERF_OK : KERF_ENOMEM;

    *out = (kerf_link_timed){.bytes = opts->bytes};
    if (err == KERF_OK)
        err = kerf_link_spec_parse(&out->spec, opts->spec, why);
    if (err == KERF_OK) {
        out->expected_ms = out->spec.rtt_ms;
        if (out->spec.up_mbit > 0)
            out->expected_ms +=
                (double)opts->bytes * 8 / (out->spec.up_mbit * 1e3);
        kerf_progress_say(&opts->progress, "%s: %zu KiB", opts->spec,
                          opts->bytes >> 10);
        err = start_all(p, opts, why);
    }
    if (err == KERF_OK)
        err = time_answers(p, opts, out, ms, why);
    if (p != NULL) {
        kerf_child_stop(&p->edge);
        kerf_child_stop(&p->relay.child);
        kerf_child_stop(&p->cloud);
        kerf_work_remove(p->work);
    }
    free(ms);
    free(p);
    return err;
}

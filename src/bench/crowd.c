#include "bench/crowd.h"

#include "base/fs.h"
#include "bench/resnet.h"
#include "bench/serve.h"

#include <stdio.h>
#include <string.h>

#define HOST "127.0.0.1"
#define FILES_SPARE 256

static const char head_json[] = "{\"kerf_fake\": 1, \"inputs\": [{\"name\": "
                                "\"x\", \"shape\": [1, 64, 8, 8]}], "
                                "\"outputs\": [{\"name\": \"h\", \"shape\": "
                                "[1, 64, 8, 8], \"in\": [\"x\"]}]}";
static const char tail_json[] =
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"h\", \"shape\": [1, 64, 8, "
    "8]}], "
    "\"outputs\": [{\"name\": \"y\", \"shape\": [1, 10], \"in\": [\"h\"]}]}";

static const kerf_shape crossing = {.rank = 4, .dims = {1, 64, 8, 8}};

static kerf_err
put(const char *dir, const char *name, const char *text, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, name);

    return err == KERF_OK ? kerf_fs_write(path, text, strlen(text), why) : err;
}

static kerf_err
put_fake(const char *dir, kerf_detail *why)
{
    kerf_err err = put(dir, "client_infer_edges.pdmodel", head_json, why);

    if (err == KERF_OK)
        err = put(dir, "client_infer_edges.pdiparams", "h", why);
    if (err == KERF_OK)
        err = put(dir, "server_infer_edges.pdmodel", tail_json, why);
    if (err == KERF_OK)
        err = put(dir, "server_infer_edges.pdiparams", "t", why);
    return err;
}

/* A cloud that serves what is in the folder. */
static kerf_err
start_cloud(kerf_child *cloud, const char *dir, const char *engine,
            const char *batch, int *port, kerf_detail *why)
{
    const char *argv[] = {
        "kerf",     "cloud", "--cloud_host", HOST,      "--cloud_port", "0",
        "--models", dir,     "--json",       "--quiet", "--engine",     engine,
        "--batch",  batch,   "--max-edges",  "8000",    "--control",    "none",
        NULL};
    char log[KERF_PATH_MAX];
    char name[32];
    kerf_err err;

    (void)snprintf(name, sizeof name, "cloud-%s.log", batch);
    err = kerf_path_join(log, dir, name);
    if (err == KERF_OK)
        err = kerf_child_start(cloud, argv, KERF_ANY_CORE, log, why);
    if (err == KERF_OK)
        err = kerf_serve_wait(cloud, port, why);
    return err;
}

static kerf_err
check_files(const kerf_crowd_opts *opts, kerf_detail *why)
{
    for (size_t i = 0; i < opts->counts; i++) {
        size_t files =
            2 * (opts->count[i] + (size_t)opts->greedy) + FILES_SPARE;

        if (kerf_fs_raise_files() < files) {
            return kerf_fail(why, KERF_EINVAL,
                             "%zu edges need %zu open files: raise the hard "
                             "limit (ulimit -Hn), or take fewer",
                             opts->count[i], files);
        }
    }
    return KERF_OK;
}

static kerf_err
run_count(const kerf_crowd_opts *opts, const char *dir, size_t edges,
          kerf_detail *why)
{
    kerf_child cloud = {0};
    kerf_edges_opts o = {.cloud = &cloud,
                         .host = HOST,
                         .edges = edges,
                         .greedy = (size_t)opts->greedy,
                         .in_flight = (size_t)opts->in_flight,
                         .hz = opts->hz,
                         .seconds = opts->seconds,
                         .shape = crossing,
                         .progress = opts->progress};
    kerf_edges_figures f;
    kerf_err err = start_cloud(&cloud, dir, "fake", "0", &o.port, why);

    if (err == KERF_OK)
        err = kerf_edges_run(&f, &o, why);
    kerf_child_stop(&cloud);
    if (err == KERF_OK)
        opts->result(opts->ctx, edges, &f);
    return err;
}

kerf_err
kerf_crowd_run(const kerf_crowd_opts *opts, kerf_detail *why)
{
    char dir[KERF_PATH_MAX] = "";
    kerf_err err = check_files(opts, why);

    if (err == KERF_OK)
        err = kerf_work_make(dir, NULL, why);
    if (err == KERF_OK)
        err = put_fake(dir, why);
    for (size_t i = 0; err == KERF_OK && i < opts->counts; i++)
        err = run_count(opts, dir, opts->count[i], why);
    kerf_work_remove(dir);
    return err;
}

/* Batching. */

struct side {
    kerf_child cloud;
    int port;
    double hz[KERF_CROWD_ROUNDS], p50_us[KERF_CROWD_ROUNDS];
    double cpu_us[KERF_CROWD_ROUNDS]; /* of the cloud, per request of 8 edges */
};

static kerf_err
run_side(struct side *s, const kerf_crowd_opts *opts, size_t round,
         kerf_detail *why)
{
    kerf_edges_opts o = {.cloud = &s->cloud,
                         .host = HOST,
                         .port = s->port,
                         .edges = 8,
                         .in_flight = 8,
                         .seconds = opts->seconds,
                         .shape = crossing,
                         .progress = opts->progress};
    kerf_edges_figures f;
    kerf_err err = kerf_edges_run(&f, &o, why);

    s->hz[round] = f.hz;
    s->cpu_us[round] = f.cpu_us;
    o.edges = o.in_flight = 1;
    if (err == KERF_OK)
        err = kerf_edges_run(&f, &o, why);
    s->p50_us[round] = f.busy_p50_us;
    return err;
}

static void
take_ratios(kerf_crowd_batch *out, struct side *single, struct side *batch,
            size_t rounds)
{
    double hz[KERF_CROWD_ROUNDS];
    double p50[KERF_CROWD_ROUNDS];
    double cpu[KERF_CROWD_ROUNDS];

    for (size_t i = 0; i < rounds; i++) {
        hz[i] = batch->hz[i] / single->hz[i];
        p50[i] = batch->p50_us[i] / single->p50_us[i];
        cpu[i] = batch->cpu_us[i] / single->cpu_us[i];
    }
    out->ratio_cpu = kerf_spread_of(cpu, rounds);
    out->single_cpu_us = kerf_spread_of(single->cpu_us, rounds);
    out->batch_cpu_us = kerf_spread_of(batch->cpu_us, rounds);
    out->ratio_hz = kerf_spread_of(hz, rounds);
    out->ratio_p50 = kerf_spread_of(p50, rounds);
    out->single_hz = kerf_spread_of(single->hz, rounds);
    out->batch_hz = kerf_spread_of(batch->hz, rounds);
    out->single_p50_us = kerf_spread_of(single->p50_us, rounds);
    out->batch_p50_us = kerf_spread_of(batch->p50_us, rounds);
}

kerf_err
kerf_crowd_batches(kerf_crowd_batch *out, const kerf_crowd_opts *opts,
                   kerf_detail *why)
{
    static struct side side[2];
    char dir[KERF_PATH_MAX] = "";
    char batch[16];
    kerf_err err = kerf_work_make(dir, NULL, why);

    (void)snprintf(batch, sizeof batch, "%d", opts->batch);
    if (err == KERF_OK)
        err = kerf_resnet_write(dir, why);
    if (err == KERF_OK)
        err = start_cloud(&side[0].cloud, dir, "openvino", "1", &side[0].port,
                          why);
    if (err == KERF_OK)
        err = start_cloud(&side[1].cloud, dir, "openvino", batch, &side[1].port,
                          why);
    for (size_t i = 0; err == KERF_OK && i < (size_t)opts->rounds; i++) {
        size_t first = i % 2; /* who is measured first, in turns */

        err = run_side(&side[first], opts, i, why);
        if (err == KERF_OK)
            err = run_side(&side[1 - first], opts, i, why);
    }
    kerf_child_stop(&side[0].cloud);
    kerf_child_stop(&side[1].cloud);
    kerf_work_remove(dir);
    if (err == KERF_OK)
        take_ratios(out, &side[0], &side[1], (size_t)opts->rounds);
    return err;
}

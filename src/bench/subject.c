#include "bench/subject.h"

#include "bench/serve.h"
#include "source/npy.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST "127.0.0.1"
#define START_MS 60000
#define ANSWERS_MS 120000

/* The files of one model as links, so that its cloud serves nothing else. */
static kerf_err
link_files(kerf_subject *s, const char *dir, kerf_detail *why)
{
    char *whole = realpath(dir, NULL);
    kerf_names names = {0};
    kerf_err err = kerf_fs_mkdirs(s->models, why);

    if (whole == NULL)
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", dir,
                        strerror(errno));
    if (err == KERF_OK)
        err = kerf_fs_list(whole, 100000, &names, why);
    for (size_t i = 0; err == KERF_OK && i < names.count; i++) {
        const char *name = names.name[i];
        const char *part = name;
        size_t len = strlen(s->name);
        char from[KERF_PATH_MAX];
        char to[KERF_PATH_MAX];

        if (strncmp(name, "client_infer_", 13) == 0 ||
            strncmp(name, "server_infer_", 13) == 0)
            part += 13;
        if (strncmp(part, s->name, len) != 0 ||
            (strcmp(part + len, ".pdmodel") != 0 &&
             strcmp(part + len, ".pdiparams") != 0 &&
             strcmp(part + len, ".onnx") != 0 &&
             strcmp(part + len, ".kerf.json") != 0))
            continue;
        err = kerf_path_join(from, whole, name);
        if (err == KERF_OK)
            err = kerf_path_join(to, s->models, name);
        if (err == KERF_OK && symlink(from, to) != 0)
            err = kerf_fail(why, KERF_EIO, "%s: %s", to, strerror(errno));
    }
    kerf_names_free(&names);
    free(whole);
    return err;
}

/* "in0.npy,in1.npy": the same bytes that the head alone runs on. */
static kerf_err
write_inputs(kerf_subject *s, kerf_detail *why)
{
    const kerf_half *head = &s->alone[0].head;
    size_t used = 0;
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(head->net);
         i++) {
        char name[32];
        char path[KERF_PATH_MAX];
        size_t len;

        (void)snprintf(name, sizeof name, "in%zu.npy", i);
        err = kerf_path_join(path, s->work, name);
        len = strlen(path);
        if (err == KERF_OK && used + len + 2 > sizeof s->input)
            err = KERF_ETOOBIG;
        if (err != KERF_OK)
            break;
        if (used > 0)
            s->input[used++] = ',';
        memcpy(s->input + used, path, len + 1);
        used += len;
        err = kerf_npy_write(path, &head->in[i], why);
    }
    return err;
}

static kerf_err
load_halves(kerf_subject *s, const kerf_subject_opts *opts, kerf_detail *why)
{
    kerf_pair pair = {0};
    kerf_err err = kerf_pair_read(&pair, s->models, s->name, why);

    if (err != KERF_OK)
        return err;
    s->alone = calloc(opts->cores, sizeof *s->alone);
    if (s->alone == NULL)
        err = KERF_ENOMEM;
    while (err == KERF_OK && s->alone_count < opts->cores)
        err = kerf_alone_init(&s->alone[s->alone_count++], opts->engine, &pair,
                              why);
    kerf_pair_fini(&pair);
    if (err == KERF_OK)
        err = write_inputs(s, why);
    return err;
}

kerf_err
kerf_subject_cloud(kerf_subject *s, kerf_served_at *at, int core,
                   kerf_detail *why)
{
    const char *argv[] = {
        "kerf",     "cloud",   "--cloud_host", HOST,      "--cloud_port", "0",
        "--models", s->models, "--json",       "--quiet", NULL,           NULL,
        NULL};
    char log[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(
        log, s->work, core == KERF_ANY_CORE ? "cloud.log" : "cloud1.log");

    if (core != KERF_ANY_CORE) {
        argv[10] = "--workers";
        argv[11] = "1";
    }
    if (err == KERF_OK)
        err = kerf_child_start(&at->child, argv, core, log, why);
    if (err == KERF_OK)
        err = kerf_serve_wait(&at->child, &at->port, why);
    if (err == KERF_OK && s->link != NULL)
        err = kerf_path_join(log, s->work, "link.log");
    if (err == KERF_OK && s->link != NULL)
        err = kerf_relay_start(&at->relay, s->link, at->port, log, why);
    if (err == KERF_OK && s->link != NULL)
        at->port = at->relay.port;
    return err == KERF_OK ? err : kerf_fail_in(why, err, "%s", s->name);
}

void
kerf_subject_stop(kerf_served_at *at)
{
    kerf_child_stop(&at->relay.child);
    kerf_child_stop(&at->child);
}

kerf_err
kerf_subject_init(kerf_subject *s, const kerf_subject_opts *opts,
                  kerf_detail *why)
{
    kerf_err err;

    memset(s, 0, sizeof *s);
    (void)snprintf(s->name, sizeof s->name, "%s", opts->name);
    s->core = opts->core;
    s->link = opts->link;
    err = kerf_path_join(s->work, opts->work, opts->name);
    if (err == KERF_OK)
        err = kerf_path_join(s->models, s->work, "models");
    if (err == KERF_OK)
        err = link_files(s, opts->dir, why);
    if (err == KERF_OK)
        err = load_halves(s, opts, why);
    if (err == KERF_OK)
        err = kerf_subject_cloud(s, &s->free, KERF_ANY_CORE, why);
    if (err == KERF_OK)
        err = kerf_subject_cloud(s, &s->pinned, s->core, why);
    return err;
}

void
kerf_subject_fini(kerf_subject *s)
{
    kerf_subject_stop(&s->free);
    kerf_subject_stop(&s->pinned);
    for (size_t i = 0; i < s->alone_count; i++)
        kerf_alone_fini(&s->alone[i]);
    free(s->alone);
    memset(s, 0, sizeof *s);
}

static kerf_err
take_figures(const char *line, long repeat, kerf_edge_figures *out,
             kerf_detail *why)
{
    json_t *o = json_loads(line, 0, NULL);
    json_int_t answered = json_integer_value(json_object_get(o, "answered"));

    out->p50_us = json_number_value(json_object_get(o, "split_p50_us"));
    out->p99_us = json_number_value(json_object_get(o, "split_p99_us"));
    out->hz = json_number_value(json_object_get(o, "throughput_hz"));
    json_decref(o);
    if (answered != repeat)
        return kerf_fail(why, KERF_EIO, "kerf edge: %lld of %ld answered",
                         (long long)answered, repeat);
    if (out->p50_us <= 0 || out->p99_us <= 0 || out->hz <= 0)
        return kerf_fail(why, KERF_EPROTO,
                         "kerf edge: its summary has no times");
    return KERF_OK;
}

static kerf_err
start_edge(kerf_subject *s, kerf_served_at *at, kerf_child *edge,
           const kerf_edge_run *run, kerf_detail *why)
{
    char port[16];
    char repeat[24];
    char window[16];
    char store[KERF_PATH_MAX];
    char log[KERF_PATH_MAX];
    const char *argv[] = {
        "kerf",    "edge",    "--cloud_host", HOST,     "--cloud_port", port,
        "--store", store,     "--input",      s->input, "--window",     window,
        "--json",  "--quiet", "--repeat",     repeat,   "--once",       NULL};
    kerf_err err = kerf_path_join(store, s->work, "store");

    (void)snprintf(port, sizeof port, "%d", at->port);
    (void)snprintf(repeat, sizeof repeat, "%ld", run->repeat);
    (void)snprintf(window, sizeof window, "%d", run->window);
    if (run->repeat == 0) { /* idle, but for one input each 5 s */
        argv[9] = "random";
        argv[16] = NULL;
    }
    if (err == KERF_OK)
        err = kerf_path_join(log, s->work, "edge.log");
    kerf_child_drain(&at->child);
    if (err == KERF_OK)
        err = kerf_child_start(edge, argv, run->core, log, why);
    return err;
}

kerf_err
kerf_subject_edge(kerf_subject *s, kerf_served_at *at, const kerf_edge_run *run,
                  kerf_edge_figures *out, kerf_detail *why)
{
    kerf_child edge = {0};
    const char *line = NULL;
    kerf_err err = start_edge(s, at, &edge, run, why);

    if (err == KERF_OK)
        err = kerf_child_event(&edge, "summary", ANSWERS_MS, &line, why);
    if (err == KERF_OK)
        err = take_figures(line, run->repeat, out, why);
    if (err == KERF_OK)
        err = kerf_child_wait(&edge, START_MS, why);
    kerf_child_stop(&edge);
    return err;
}

kerf_err
kerf_subject_idle_edge(kerf_subject *s, kerf_served_at *at, kerf_child *edge,
                       kerf_detail *why)
{
    kerf_edge_run run = {.core = KERF_ANY_CORE, .window = 1};

    return start_edge(s, at, edge, &run, why);
}

kerf_err
kerf_subject_limit(kerf_subject *s, double seconds, double *hz,
                   kerf_detail *why)
{
    char text[32];
    char log[KERF_PATH_MAX];
    const char *argv[] = {"kerf",    "bench",   "limit", "--models",
                          s->models, "--model", s->name, "--seconds",
                          text,      "--json",  NULL};
    kerf_child child = {0};
    const char *line = NULL;
    kerf_err err = kerf_path_join(log, s->work, "limit.log");

    (void)snprintf(text, sizeof text, "%.3f",
                   seconds < 0.001 ? 0.001 : seconds);
    if (err == KERF_OK)
        err = kerf_child_start(&child, argv, s->core, log, why);
    if (err == KERF_OK)
        err = kerf_child_event(&child, "limit", ANSWERS_MS, &line, why);
    if (err == KERF_OK) {
        json_t *o = json_loads(line, 0, NULL);

        *hz = json_number_value(json_object_get(o, "limit_hz"));
        json_decref(o);
        err = kerf_child_wait(&child, START_MS, why);
    }
    if (err == KERF_OK && *hz <= 0)
        err = kerf_fail(why, KERF_EPROTO, "kerf bench limit: no limit");
    kerf_child_stop(&child);
    return err;
}

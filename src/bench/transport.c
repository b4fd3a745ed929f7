#include "bench/transport.h"

#include "bench/child.h"
#include "bench/peer.h"
#include "bench/peer_own.h"
#include "trust/fleet.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_MS 60000
#define RUN_MS 120000
#define QUICK_RUNS 20

/* Enough for a p99, in about as much time for each size. */
static const struct {
    size_t bytes;
    int runs;
} sizes[KERF_TRANSPORT_SIZES] = {{(size_t)16 << 10, 2000},
                                 {(size_t)256 << 10, 1000},
                                 {(size_t)1 << 20, 400},
                                 {(size_t)4 << 20, 150}};

/* What a peer's line says, of each round. */
enum figure {
    P50,
    P99,
    HZ,
    CLIENT_CPU,
    SERVER_CPU,
    LOADED_CLIENT_CPU,
    LOADED_SERVER_CPU,
    CLIENT_RSS,
    FIGURES
};

static const char *const keys[FIGURES] = {"p50_us",
                                          "p99_us",
                                          "throughput_hz",
                                          "client_cpu_us",
                                          "server_cpu_us",
                                          "loaded_client_cpu_us",
                                          "loaded_server_cpu_us",
                                          "client_rss_kib"};

struct measured { /* of one way and size */
    double v[FIGURES][KERF_TRANSPORT_ROUNDS_MAX];
    double server_rss_kib;
};

struct bench {
    const kerf_transport_opts *opts;
    char work[KERF_PATH_MAX];
    char peers[KERF_PATH_MAX]; /* "": none */
    char keys[KERF_PATH_MAX];  /* of a fleet, for Kerf's TLS */
    char cloud_keys[KERF_PATH_MAX], edge_keys[KERF_PATH_MAX];
    bool there[KERF_TRANSPORT_PEERS];
    struct measured m[KERF_TRANSPORT_SIZES][KERF_TRANSPORT_PEERS];
};

/* argv of one side, and what it is made of. */
struct command {
    const char *argv[16];
    size_t argc;
    char program[KERF_PATH_MAX];
    char text[5][24];
};

const char *
kerf_transport_name(kerf_transport_way way)
{
    static const char *const names[KERF_TRANSPORT_PEERS] = {
        "raw",    "kerf", "kerf_tls", "openssl",
        "zeromq", "nng",  "grpc",     "reference"};

    return names[way];
}

/* Which peers there are. */

static bool
find_program(const char *dir, int way, char out[KERF_PATH_MAX])
{
    char name[64];

    (void)snprintf(name, sizeof name, "peer-%s%s",
                   kerf_transport_name((kerf_transport_way)way),
                   way == KERF_WAY_REFERENCE ? ".py" : "");
    return kerf_path_join(out, dir, name) == KERF_OK && kerf_fs_exists(out);
}

/* `peers` in a folder above the executable: build/peers. */
static void
find_folder(char out[KERF_PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, KERF_PATH_MAX - 16);
    char *slash;

    out[n > 0 ? n : 0] = '\0';
    while ((slash = strrchr(out, '/')) != NULL) {
        (void)snprintf(slash, 16, "/peers");
        if (kerf_fs_is_dir(out))
            return;
        *slash = '\0';
    }
    out[0] = '\0';
}

static void
find_peers(struct bench *b)
{
    char program[KERF_PATH_MAX];

    b->there[KERF_WAY_RAW] = b->there[KERF_WAY_KERF] = true;
    b->there[KERF_WAY_KERF_TLS] = true;
    if (b->opts->quick)
        return;
    if (b->opts->peers != NULL)
        (void)snprintf(b->peers, sizeof b->peers, "%s", b->opts->peers);
    else
        find_folder(b->peers);
    for (int way = KERF_WAY_OPENSSL; way < KERF_TRANSPORT_PEERS; way++) {
        b->there[way] = find_program(b->peers, way, program);
        if (!b->there[way]) {
            kerf_progress_say(
                &b->opts->progress,
                "%s: not built, left out (./dev bench transport builds it)",
                kerf_transport_name((kerf_transport_way)way));
        }
    }
}

/* Commands. */

static void
add_word(struct command *c, const char *word)
{
    c->argv[c->argc++] = word;
    c->argv[c->argc] = NULL;
}

static void
add_number(struct command *c, size_t at, long v)
{
    (void)snprintf(c->text[at], sizeof c->text[at], "%ld", v);
    add_word(c, c->text[at]);
}

static void
start_command(const struct bench *b, int way, struct command *c)
{
    c->argc = 0;
    if (way > KERF_WAY_KERF_TLS) {
        if (way == KERF_WAY_REFERENCE)
            add_word(c, "python3");
        (void)find_program(b->peers, way, c->program);
        add_word(c, c->program);
        return;
    }
    add_word(c, "kerf");
    add_word(c, "bench");
    add_word(c, "peer");
    add_word(c, kerf_transport_name((kerf_transport_way)way));
}

static long
port_of(const char *line)
{
    json_t *o = json_loads(line, 0, NULL);
    long port = (long)json_integer_value(json_object_get(o, "port"));

    json_decref(o);
    return port;
}

/* `kerf cloud` says when its model is served, and where it listens, in either
 * order. */
static kerf_err
wait_for_cloud(kerf_child *cloud, long *port, kerf_detail *why)
{
    bool served = false;
    kerf_err err = KERF_OK;

    *port = 0;
    while (err == KERF_OK && (*port == 0 || !served)) {
        const char *line = NULL;

        err = kerf_child_event(cloud, NULL, START_MS, &line, why);
        if (err == KERF_OK && port_of(line) > 0)
            *port = port_of(line);
        else if (err == KERF_OK && strstr(line, "\"ok\":true") != NULL)
            served = true;
        else if (err == KERF_OK && strstr(line, "\"ok\":false") != NULL)
            err = kerf_fail(why, KERF_EENGINE, "kerf cloud serves no model");
    }
    return err;
}

static kerf_err
start_server(struct bench *b, int way, size_t bytes, kerf_child *server,
             long *port, kerf_detail *why)
{
    struct command c;
    char log[KERF_PATH_MAX];
    const char *line = NULL;
    kerf_err err = kerf_path_join(log, b->work, "server.log");

    start_command(b, way, &c);
    if (way == KERF_WAY_KERF || way == KERF_WAY_KERF_TLS) {
        bool tls = way == KERF_WAY_KERF_TLS;
        const char *cloud[] = {"kerf",
                               "cloud",
                               "--engine",
                               "fake",
                               "--models",
                               b->work,
                               "--batch",
                               "1",
                               "--cloud_port",
                               "0",
                               "--json",
                               "--quiet",
                               tls ? "--tls" : NULL,
                               b->cloud_keys,
                               NULL};

        if (err == KERF_OK)
            err = kerf_peer_write_pair(b->work, bytes, why);
        if (err == KERF_OK)
            err = kerf_child_start(server, cloud, KERF_ANY_CORE, log, why);
        return err == KERF_OK ? wait_for_cloud(server, port, why) : err;
    }
    add_word(&c, "server");
    add_number(&c, 0, (long)bytes);
    if (err == KERF_OK)
        err = kerf_child_start(server, c.argv, KERF_ANY_CORE, log, why);
    if (err == KERF_OK)
        err = kerf_child_event(server, "ready", START_MS, &line, why);
    if (err == KERF_OK)
        *port = port_of(line);
    return err;
}

static kerf_err
take_line(const char *line, struct measured *m, int round, kerf_detail *why)
{
    json_t *o = json_loads(line, 0, NULL);
    kerf_err err = KERF_OK;

    for (int i = 0; err == KERF_OK && i < FIGURES; i++) {
        const json_t *v = json_object_get(o, keys[i]);

        m->v[i][round] = json_number_value(v);
        if (!json_is_number(v) || m->v[i][round] <= 0)
            err = kerf_fail(why, KERF_EPROTO, "its result has no %s", keys[i]);
    }
    json_decref(o);
    return err;
}

static kerf_err
run_client(struct bench *b, int way, size_t size, const kerf_child *server,
           long port, int round, kerf_detail *why)
{
    int runs = b->opts->quick ? QUICK_RUNS : sizes[size].runs;
    struct command c;
    kerf_child client = {0};
    char log[KERF_PATH_MAX];
    const char *line = NULL;
    kerf_err err = kerf_path_join(log, b->work, "client.log");

    start_command(b, way, &c);
    add_word(&c, "client");
    add_number(&c, 0, port);
    add_number(&c, 1, (long)sizes[size].bytes);
    add_number(&c, 2, runs);
    add_number(&c, 3, runs);
    add_number(&c, 4, (long)server->pid);
    if (err == KERF_OK)
        err = kerf_child_start(&client, c.argv, KERF_ANY_CORE, log, why);
    if (err == KERF_OK)
        err = kerf_child_event(&client, "result", RUN_MS, &line, why);
    if (err == KERF_OK)
        err = take_line(line, &b->m[size][way], round, why);
    if (err == KERF_OK)
        err = kerf_child_wait(&client, START_MS, why);
    kerf_child_stop(&client);
    return err;
}

static kerf_err
measure(struct bench *b, int way, size_t size, int round, kerf_detail *why)
{
    struct measured *m = &b->m[size][way];
    kerf_child server = {0};
    long port = 0;
    double rss;
    kerf_err err;

    if (kerf_bench_interrupted())
        return kerf_fail(why, KERF_EINTR, "interrupted");
    err = start_server(b, way, sizes[size].bytes, &server, &port, why);
    if (err == KERF_OK)
        err = run_client(b, way, size, &server, port, round, why);
    rss = (double)kerf_child_peak(&server) / 1024;
    m->server_rss_kib = rss > m->server_rss_kib ? rss : m->server_rss_kib;
    kerf_child_stop(&server);
    if (err == KERF_OK)
        return err;
    return kerf_fail_in(why, err, "%s",
                        kerf_transport_name((kerf_transport_way)way));
}

/* Results. */

static kerf_spread
spread_of(const double *v, int rounds)
{
    double sorted[KERF_TRANSPORT_ROUNDS_MAX];

    /* cppcheck-suppress uninitvar; each round has filled its own */
    memcpy(sorted, v, (size_t)rounds * sizeof *v);
    return kerf_spread_of(sorted, (size_t)rounds);
}

static void
fill_figures(kerf_transport_figures *f, const struct measured *m, int n)
{
    *f = (kerf_transport_figures){
        .there = true,
        .p50_us = spread_of(m->v[P50], n),
        .p99_us = spread_of(m->v[P99], n),
        .throughput_hz = spread_of(m->v[HZ], n),
        .client_cpu_us = spread_of(m->v[CLIENT_CPU], n),
        .server_cpu_us = spread_of(m->v[SERVER_CPU], n),
        .loaded_client_cpu_us = spread_of(m->v[LOADED_CLIENT_CPU], n),
        .loaded_server_cpu_us = spread_of(m->v[LOADED_SERVER_CPU], n),
        .client_rss_kib = spread_of(m->v[CLIENT_RSS], n).most,
        .server_rss_kib = m->server_rss_kib};
}

static void
fill_result(const struct bench *b, size_t size, kerf_transport_result *out)
{
    int n = b->opts->rounds;
    double ratio[KERF_TRANSPORT_ROUNDS_MAX];

    *out = (kerf_transport_result){.bytes = sizes[size].bytes,
                                   .runs = b->opts->quick ? QUICK_RUNS
                                                          : sizes[size].runs};
    for (int way = 0; way < KERF_TRANSPORT_PEERS; way++) {
        if (b->there[way])
            fill_figures(&out->way[way], &b->m[size][way], n);
    }
    for (int i = 0; i < n && out->way[KERF_WAY_OPENSSL].there; i++)
        ratio[i] = b->m[size][KERF_WAY_KERF_TLS].v[HZ][i] /
                   b->m[size][KERF_WAY_OPENSSL].v[HZ][i];
    if (out->way[KERF_WAY_OPENSSL].there)
        out->ratio_openssl = spread_of(ratio, n);
    for (int i = 0; i < n; i++)
        ratio[i] = (b->m[size][KERF_WAY_KERF].v[P50][i] - KERF_RAW_MORE_US) /
                   b->m[size][KERF_WAY_RAW].v[P50][i];
    out->ratio_raw = spread_of(ratio, n);
}

/* A cloud and an edge; the edge's way to it is in the environment. */
static kerf_err
make_keys(struct bench *b, kerf_detail *why)
{
    static const char *const host[] = {"127.0.0.1"};
    const kerf_fleet_ask ask = {.days = 2};
    kerf_fleet *fleet = NULL;
    kerf_err err = kerf_path_join(b->keys, b->work, "keys");

    if (err == KERF_OK)
        err = kerf_fleet_make(b->keys, "bench", &ask, why);
    if (err == KERF_OK)
        err = kerf_fleet_open(&fleet, b->keys, why);
    if (err == KERF_OK)
        err = kerf_fleet_issue(fleet, KERF_SIDE_CLOUD, "cloud", host, 1, &ask,
                               why);
    if (err == KERF_OK)
        err =
            kerf_fleet_issue(fleet, KERF_SIDE_EDGE, "edge", NULL, 0, &ask, why);
    if (err == KERF_OK) {
        (void)kerf_fleet_path(fleet, b->cloud_keys, KERF_SIDE_CLOUD, "cloud");
        (void)kerf_fleet_path(fleet, b->edge_keys, KERF_SIDE_EDGE, "edge");
    }
    kerf_fleet_close(fleet);
    if (err == KERF_OK && setenv(KERF_PEER_TLS, b->edge_keys, 1) != 0)
        err = KERF_ENOMEM;
    return err;
}

kerf_err
kerf_bench_transport(const kerf_transport_opts *opts,
                     kerf_transport_result result[KERF_TRANSPORT_SIZES],
                     size_t *count, kerf_detail *why)
{
    struct bench *b = calloc(1, sizeof *b);
    kerf_err err;

    *count = 0;
    if (b == NULL)
        return KERF_ENOMEM;
    b->opts = opts;
    err = kerf_work_make(b->work, NULL, why);
    if (err == KERF_OK)
        err = make_keys(b, why);
    find_peers(b);
    for (int round = 0; err == KERF_OK && round < opts->rounds; round++) {
        for (size_t size = 0; err == KERF_OK && size < KERF_TRANSPORT_SIZES;
             size++) {
            kerf_progress_say(&opts->progress, "round %d of %d: %zu KB",
                              round + 1, opts->rounds, sizes[size].bytes >> 10);
            for (int way = 0; err == KERF_OK && way < KERF_TRANSPORT_PEERS;
                 way++)
                err = b->there[way] ? measure(b, way, size, round, why) : err;
        }
    }
    for (size_t i = 0; err == KERF_OK && i < KERF_TRANSPORT_SIZES; i++)
        fill_result(b, i, &result[(*count)++]);
    kerf_work_remove(b->work);
    free(b);
    if (err != KERF_OK && kerf_bench_interrupted()) /* whatever it broke */
        err = kerf_fail(why, KERF_EINTR, "interrupted");
    return err;
}

/*
 * bench_transport.c - `kerf bench transport`: carrying a tensor, Kerf beside
 * raw sockets and what a user would pick instead; and `kerf bench peer`, the
 * sides of it that are part of Kerf.
 */
#include "bench/transport.h"
#include "bench/peer_own.h"
#include "cli/bench_ui.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/opts.h"

#include <stdio.h>
#include <string.h>

/* docs/BENCHMARKS.md */
#define RATIO_RAW_MOST 1.15
#define RATIO_OPENSSL_LEAST 0.8

static kerf_bench_ui ui;
static kerf_transport_opts opts = {.rounds = 9};

static const kerf_opt table[] = {
    {.name = "rounds",
     .kind = KERF_OPT_INT,
     .to = &opts.rounds,
     .min = 1,
     .max = KERF_TRANSPORT_ROUNDS_MAX,
     .help = "times that everything is measured, in turns; medians count"},
    {.name = "peers",
     .kind = KERF_OPT_TEXT,
     .to = &opts.peers,
     .value = "DIR",
     .help = "folder of the peers that are built; without it: peers beside or "
             "above the executable's folder"},
    {.name = "quick",
     .kind = KERF_OPT_FLAG,
     .to = &opts.quick,
     .help = "raw sockets and Kerf only, a few runs: to see that it works"},
    KERF_BENCH_UI_OPTS(&ui)};

/* JSON. */

static void
add_spread(json_t *o, const char *way, const char *what, const kerf_spread *s)
{
    char key[64];

    (void)snprintf(key, sizeof key, "%s_%s", way, what);
    kerf_bench_add_spread(o, key, s);
}

static void
add_real(json_t *o, const char *way, const char *what, double v)
{
    char key[64];

    (void)snprintf(key, sizeof key, "%s_%s", way, what);
    kerf_bench_add_real(o, key, v);
}

static void
add_way(json_t *o, const char *name, const kerf_transport_figures *f)
{
    char key[64];

    if (!f->there) {
        (void)snprintf(key, sizeof key, "%s_p50_us", name);
        (void)json_object_set_new(o, key, json_null());
        return;
    }
    add_spread(o, name, "p50_us", &f->p50_us);
    add_spread(o, name, "p99_us", &f->p99_us);
    add_spread(o, name, "throughput_hz", &f->throughput_hz);
    add_spread(o, name, "client_cpu_us", &f->client_cpu_us);
    add_spread(o, name, "server_cpu_us", &f->server_cpu_us);
    add_spread(o, name, "loaded_client_cpu_us", &f->loaded_client_cpu_us);
    add_spread(o, name, "loaded_server_cpu_us", &f->loaded_server_cpu_us);
    add_real(o, name, "client_rss_kib", f->client_rss_kib);
    add_real(o, name, "server_rss_kib", f->server_rss_kib);
}

static void
print_json(const kerf_transport_result *r)
{
    json_t *o =
        json_pack("{s:I, s:i, s:i, s:i, s:i}", "bytes", (json_int_t)r->bytes,
                  "answer_bytes", KERF_PEER_ANSWER, "rounds", opts.rounds,
                  "runs", r->runs, "window", KERF_PEER_WINDOW);

    for (int way = 0; way < KERF_TRANSPORT_PEERS; way++)
        add_way(o, kerf_transport_name((kerf_transport_way)way), &r->way[way]);
    kerf_bench_add_spread(o, "ratio_raw", &r->ratio_raw);
    if (r->way[KERF_WAY_OPENSSL].there)
        kerf_bench_add_spread(o, "ratio_openssl", &r->ratio_openssl);
    kerf_json_line(o);
}

/* For a person. */

static void
print_row(int way, const kerf_transport_figures *f)
{
    const char *name = kerf_transport_name((kerf_transport_way)way);

    if (!f->there) {
        if (!opts.quick)
            (void)printf("  %-10s not built\n", name);
        return;
    }
    (void)printf(
        "  %-10s %9.1f %9.1f %9.0f %7.0f %6.0f %8.0f %6.0f %7.1f %6.1f\n", name,
        f->p50_us.median, f->p99_us.median, f->throughput_hz.median,
        f->client_cpu_us.median, f->server_cpu_us.median,
        f->loaded_client_cpu_us.median, f->loaded_server_cpu_us.median,
        f->client_rss_kib / 1024, f->server_rss_kib / 1024);
}

static void
print_table(const kerf_transport_result *r)
{
    (void)printf("%s%zu KB%s there, %d bytes back; %d rounds of %d\n",
                 kerf_term_bold(&ui.out), r->bytes >> 10,
                 kerf_term_plain(&ui.out), KERF_PEER_ANSWER, opts.rounds,
                 r->runs);
    (void)printf("  %s%-10s %9s %9s %9s %14s %15s %14s%s\n",
                 kerf_term_dim(&ui.out), "", "p50 us", "p99 us", "/s with 8",
                 "CPU us: one", "with 8", "RSS MB", kerf_term_plain(&ui.out));
    for (int way = 0; way < KERF_TRANSPORT_PEERS; way++)
        print_row(way, &r->way[way]);
}

/* Bars. */

static double
both(const kerf_spread *client, const kerf_spread *server)
{
    return client->median + server->median;
}

static void
judge_pair(const kerf_transport_result *r, kerf_transport_way way)
{
    const kerf_transport_figures *k = &r->way[KERF_WAY_KERF];
    const kerf_transport_figures *f = &r->way[way];
    const struct {
        const char *what;
        double kerf, other;
        bool above;
    } bar[] = {
        {"p50", k->p50_us.median, f->p50_us.median, false},
        {"p99", k->p99_us.median, f->p99_us.median, false},
        {"CPU of both sides, one by one",
         both(&k->client_cpu_us, &k->server_cpu_us),
         both(&f->client_cpu_us, &f->server_cpu_us), false},
        {"CPU of both sides, 8 in flight",
         both(&k->loaded_client_cpu_us, &k->loaded_server_cpu_us),
         both(&f->loaded_client_cpu_us, &f->loaded_server_cpu_us), false},
        {"requests per second", k->throughput_hz.median,
         f->throughput_hz.median, true},
    };

    for (size_t i = 0; f->there && i < sizeof bar / sizeof *bar; i++) {
        char text[96];
        double ratio = bar[i].kerf / bar[i].other;

        (void)snprintf(text, sizeof text, "%s, Kerf / %s:", bar[i].what,
                       kerf_transport_name(way));
        kerf_bench_ui_judge(&ui, bar[i].above ? ratio > 1 : ratio < 1, text,
                            ratio, 1, "");
    }
}

static void
judge(const kerf_transport_result *r)
{
    kerf_bench_ui_judge(&ui, r->ratio_raw.median <= RATIO_RAW_MOST,
                        "p50, (Kerf - 10 us) / raw sockets:",
                        r->ratio_raw.median, RATIO_RAW_MOST, "");
    if (r->way[KERF_WAY_OPENSSL].there)
        kerf_bench_ui_judge(&ui, r->ratio_openssl.median >= RATIO_OPENSSL_LEAST,
                            "requests per second, Kerf over TLS / OpenSSL:",
                            r->ratio_openssl.median, RATIO_OPENSSL_LEAST, "");
    judge_pair(r, KERF_WAY_ZEROMQ);
    judge_pair(r, KERF_WAY_NNG);
    judge_pair(r, KERF_WAY_GRPC);
}

int
kerf_bench_transport_main(int argc, char **argv)
{
    static kerf_transport_result result[KERF_TRANSPORT_SIZES];
    const kerf_command command = {
        .name = "bench transport",
        .usage = "[flags]",
        .about = "What carrying a tensor and its answer costs over loopback: "
                 "raw sockets, Kerf\nwith TLS and without, OpenSSL, ZeroMQ, "
                 "nng, gRPC and the reference's "
                 "way, in turns.",
        .opt = table,
        .opt_count = sizeof table / sizeof *table};
    int status = kerf_opts_parse(&command, argc, argv);
    size_t count = 0;
    kerf_detail why = {{0}};
    kerf_err err;

    if (status >= 0)
        return status;
    kerf_bench_ui_begin(&ui);
    opts.progress = kerf_bench_ui_progress(&ui);
    err = kerf_bench_transport(&opts, result, &count, &why);
    kerf_bench_ui_clear(&ui);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    for (size_t i = 0; i < count; i++) {
        if (ui.json)
            print_json(&result[i]);
        else
            print_table(&result[i]);
        judge(&result[i]);
    }
    return kerf_bench_ui_status(&ui);
}

int
kerf_bench_peer_main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    bool raw = strcmp(way, "raw") == 0;
    bool tls = strcmp(way, "kerf_tls") == 0;
    kerf_peer peer;
    int status;

    if (!raw && !tls && strcmp(way, "kerf") != 0)
        return kerf_usage_error("bench peer",
                                "raw, kerf or kerf_tls is needed");
    if (!kerf_peer_parse(&peer, argc - 1, argv + 1))
        return 2;
    if (!raw && peer.is_server)
        status =
            kerf_usage_error("bench peer", "the server of kerf is kerf cloud");
    else
        status = raw ? kerf_peer_raw(&peer) : kerf_peer_edge(&peer, tls);
    kerf_peer_fini(&peer);
    return status;
}

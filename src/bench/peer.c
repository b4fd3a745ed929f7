#include "bench/peer.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WARM_MOST 50
#define PAGE 4096

static bool
take_number(const char *text, long least, long most, long *out)
{
    char *end;

    *out = strtol(text, &end, 10);
    return *text != '\0' && *end == '\0' && *out >= least && *out <= most;
}

bool
kerf_peer_parse(kerf_peer *peer, int argc, char **argv)
{
    long v[5] = {0};
    bool server = argc == 3 && strcmp(argv[1], "server") == 0;
    bool client = argc == 7 && strcmp(argv[1], "client") == 0;
    int at = client ? 3 : 2;
    bool ok = (server || client) &&
              take_number(argv[at], KERF_PEER_ANSWER, 1L << 30, &v[1]);

    if (client) {
        ok = ok && take_number(argv[2], 1, 65535, &v[0]) &&
             take_number(argv[4], 1, 10000000, &v[2]) &&
             take_number(argv[5], 1, 10000000, &v[3]) &&
             take_number(argv[6], 1, 1L << 30, &v[4]);
    }
    if (!ok) {
        (void)fprintf(stderr,
                      "usage: %s server BYTES\n"
                      "       %s client PORT BYTES RUNS LOADED SERVER_PID\n",
                      argv[0], argv[0]);
        return false;
    }
    *peer = (kerf_peer){.is_server = server,
                        .port = (int)v[0],
                        .bytes = (size_t)v[1],
                        .runs = {(int)v[2], (int)v[3]},
                        .server = (pid_t)v[4]};
    if (kerf_stats_init(&peer->ns, client ? (size_t)v[2] : 1) == KERF_OK)
        return true;
    (void)fputs("out of memory\n", stderr);
    return false;
}

void
kerf_peer_fini(kerf_peer *peer)
{
    kerf_stats_fini(&peer->ns);
}

void
kerf_peer_ready(int port)
{
    (void)printf("{\"event\":\"ready\",\"port\":%d}\n", port);
    (void)fflush(stdout);
}

uint8_t *
kerf_peer_memory(size_t bytes, unsigned slot)
{
    size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
    uint8_t *data = aligned_alloc(PAGE, room);

    if (data == NULL) {
        (void)fputs("out of memory\n", stderr);
        exit(1);
    }
    memset(data, 0, room);
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
        float v = (float)((i * 2654435761u + slot) % 65536) / 65536.0f;

        memcpy(data + i * sizeof v, &v, sizeof v);
    }
    return data;
}

void
kerf_peer_answer(uint8_t answer[KERF_PEER_ANSWER], const uint8_t *data,
                 size_t len)
{
    memcpy(answer, data + len - KERF_PEER_ANSWER, KERF_PEER_ANSWER);
}

int
kerf_peer_warm(const kerf_peer *peer, int phase)
{
    int n = peer->runs[phase];

    return n < 2 * KERF_PEER_WINDOW ? 2 * KERF_PEER_WINDOW
           : n < WARM_MOST          ? n
                                    : WARM_MOST;
}

/* User and system time of all threads of a process; 0: it is gone. */
static uint64_t
cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
kerf_peer_begin(kerf_peer *peer)
{
    size_t keep = peer->ns.keep;

    kerf_stats_fini(&peer->ns);
    if (kerf_stats_init(&peer->ns, keep) != KERF_OK)
        exit(1);
    peer->server_cpu_ns = cpu_ns(peer->server);
    peer->client_cpu_ns = cpu_ns(getpid());
    peer->start_ns = kerf_now_ns();
}

void
kerf_peer_add(kerf_peer *peer, uint64_t ns)
{
    kerf_stats_add(&peer->ns, (double)ns);
}

void
kerf_peer_end(kerf_peer *peer, int phase)
{
    uint64_t end_ns = kerf_now_ns();
    uint64_t client = cpu_ns(getpid()) - peer->client_cpu_ns;
    uint64_t server = cpu_ns(peer->server) - peer->server_cpu_ns;
    double n = peer->runs[phase];

    peer->phase[phase] =
        (kerf_peer_phase){.p50_us = kerf_stats_quantile(&peer->ns, 0.50) / 1000,
                          .p99_us = kerf_stats_quantile(&peer->ns, 0.99) / 1000,
                          .hz = n * 1e9 / (double)(end_ns - peer->start_ns),
                          .client_cpu_us = (double)client / n / 1000,
                          .server_cpu_us = (double)server / n / 1000};
}

/* The most memory that this process ever had, in KiB; 0: unknown. */
static double
peak_kib(void)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "re");

    if (file == NULL)
        return 0;
    while (kib == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtod(line + 6, NULL);
    }
    (void)fclose(file);
    return kib;
}

void
kerf_peer_print(const kerf_peer *peer)
{
    const kerf_peer_phase *one = &peer->phase[0];
    const kerf_peer_phase *all = &peer->phase[1];

    (void)printf("{\"event\":\"result\",\"p50_us\":%.3f,\"p99_us\":%.3f,"
                 "\"client_cpu_us\":%.3f,\"server_cpu_us\":%.3f,"
                 "\"throughput_hz\":%.3f,\"loaded_client_cpu_us\":%.3f,"
                 "\"loaded_server_cpu_us\":%.3f,\"client_rss_kib\":%.0f}\n",
                 one->p50_us, one->p99_us, one->client_cpu_us,
                 one->server_cpu_us, all->hz, all->client_cpu_us,
                 all->server_cpu_us, peak_kib());
    (void)fflush(stdout);
}

static bool
run_one_by_one(kerf_peer *peer, const kerf_peer_ops *ops, void *ctx)
{
    for (int i = -kerf_peer_warm(peer, 0); i < peer->runs[0]; i++) {
        uint64_t start_ns;

        if (i == 0)
            kerf_peer_begin(peer);
        if (ops->prepare != NULL && !ops->prepare(ctx, 0))
            return false;
        start_ns = kerf_now_ns();
        if (!ops->send(ctx, 0) || !ops->answer(ctx))
            return false;
        if (i >= 0)
            kerf_peer_add(peer, kerf_now_ns() - start_ns);
    }
    kerf_peer_end(peer, 0);
    return true;
}

static bool
run_loaded(kerf_peer *peer, const kerf_peer_ops *ops, void *ctx)
{
    int warm = kerf_peer_warm(peer, 1);
    int most = warm + peer->runs[1];
    int sent = 0;

    for (int done = 0; done < most; done++) {
        if (done == warm)
            kerf_peer_begin(peer);
        for (; sent < most && sent < done + KERF_PEER_WINDOW; sent++) {
            unsigned slot = (unsigned)sent % KERF_PEER_WINDOW;

            if ((ops->prepare != NULL && !ops->prepare(ctx, slot)) ||
                !ops->send(ctx, slot))
                return false;
        }
        if (!ops->answer(ctx))
            return false;
    }
    kerf_peer_end(peer, 1);
    return true;
}

int
kerf_peer_drive(kerf_peer *peer, const kerf_peer_ops *ops, void *ctx)
{
    if (!run_one_by_one(peer, ops, ctx) || !run_loaded(peer, ops, ctx)) {
        (void)fputs("the run broke off\n", stderr);
        return 1;
    }
    kerf_peer_print(peer);
    return 0;
}

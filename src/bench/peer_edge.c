/*
 * Kerf's own way: the whole of kerf_edge_run(), with its worker, its loop and
 * its caller, and `kerf cloud` on the other side. Only the engine is one that
 * costs nothing, so that what is left is what carrying a tensor costs.
 */
#include "bench/peer_own.h"

#include "base/clock.h"
#include "bench/work.h"
#include "kerf/edge.h"
#include "source/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "client_infer_floats"
#define TAIL "server_infer_floats"
#define TEXT_MAX 512

struct edge_run {
    kerf_peer *peer;
    int phase;
    uint64_t seen, warm;
    bool bad;
};

static kerf_err
write_part(const char *dir, const char *name, const char *suffix,
           const char *text, kerf_detail *why)
{
    char file[64];
    char path[KERF_PATH_MAX];
    kerf_err err;

    (void)snprintf(file, sizeof file, "%s%s", name, suffix);
    err = kerf_path_join(path, dir, file);
    return err == KERF_OK ? kerf_fs_write(path, text, strlen(text), why) : err;
}

/* Weights belong to a pair; the fake engine looks at none. */
static kerf_err
write_graph(const char *dir, const char *name, const char *text,
            kerf_detail *why)
{
    kerf_err err = write_part(dir, name, ".pdiparams", "none", why);

    return err == KERF_OK ? write_part(dir, name, ".pdmodel", text, why) : err;
}

kerf_err
kerf_peer_write_pair(const char *dir, size_t bytes, kerf_detail *why)
{
    char text[TEXT_MAX];
    size_t count = bytes / sizeof(float);
    kerf_err err;

    (void)snprintf(text, sizeof text,
                   "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", "
                   "\"shape\": [1, 4]}], \"outputs\": [{\"name\": \"h\", "
                   "\"shape\": [1, %zu], \"seed\": 7, \"once\": true}]}",
                   count);
    err = write_graph(dir, HEAD, text, why);
    (void)snprintf(text, sizeof text,
                   "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"h\", "
                   "\"shape\": [1, %zu]}], \"outputs\": [{\"name\": \"y\", "
                   "\"shape\": [1, %zu], \"once\": true}]}",
                   count, KERF_PEER_ANSWER / sizeof(float));
    return err == KERF_OK ? write_graph(dir, TAIL, text, why) : err;
}

/* From the tensor being there to the answer being with the caller: what the
 * other peers count, too. */
static void
on_answer(void *ctx, const kerf_edge_result *r)
{
    struct edge_run *run = ctx;
    uint64_t now_ns = kerf_now_ns();
    const uint64_t *ns = r->stages.ns;
    uint64_t before = ns[KERF_STAGE_CAPTURE] + ns[KERF_STAGE_PREPROCESS] +
                      ns[KERF_STAGE_HEAD];

    run->bad |= r->err != KERF_OK || r->tensor_bytes != run->peer->bytes;
    if (run->seen >= run->warm && run->phase == 0)
        kerf_peer_add(run->peer, now_ns - r->start_ns - before);
    run->seen++;
    if (run->seen == run->warm)
        kerf_peer_begin(run->peer);
    if (run->seen == run->warm + (uint64_t)run->peer->runs[run->phase])
        kerf_peer_end(run->peer, run->phase);
}

static kerf_err
run_phase(kerf_peer *peer, int phase, const char *store, const char *input,
          const char *tls, kerf_detail *why)
{
    uint64_t warm = (uint64_t)kerf_peer_warm(peer, phase);
    struct edge_run run = {.peer = peer, .phase = phase, .warm = warm};
    const char *inputs[] = {input};
    const kerf_edge_opts opts = {.host = "127.0.0.1",
                                 .port = peer->port,
                                 .store = store,
                                 .tls = tls,
                                 .engine = {.kind = "fake"},
                                 .window = phase == 0 ? 1 : KERF_PEER_WINDOW,
                                 .inputs = inputs,
                                 .input_count = 1,
                                 .repeat = warm + (uint64_t)peer->runs[phase]};
    const kerf_edge_events events = {.ctx = &run, .answer = on_answer};
    kerf_edge_total total;
    kerf_edge *edge = NULL;
    kerf_err err = kerf_edge_open(&edge, &opts, &events, why);

    if (err == KERF_OK)
        err = kerf_edge_run(edge, &total, why);
    (void)kerf_edge_close(edge); /* a thread that is left has all it uses */
    if (err == KERF_OK && (run.bad || run.seen != opts.repeat))
        err = kerf_fail(why, KERF_EIO, "not every request was answered");
    return err;
}

static kerf_err
write_input(const char *path, kerf_detail *why)
{
    float zeros[4] = {0};
    const kerf_tensor t = {.dtype = KERF_F32,
                           .shape = {.rank = 2, .dims = {1, 4}},
                           .data = zeros,
                           .bytes = sizeof zeros};

    return kerf_npy_write(path, &t, why);
}

int
kerf_peer_edge(kerf_peer *peer, bool tls)
{
    const char *keys = tls ? getenv(KERF_PEER_TLS) : NULL;
    char work[KERF_PATH_MAX];
    char store[KERF_PATH_MAX];
    char input[KERF_PATH_MAX];
    kerf_detail why = {{0}};
    kerf_err err = kerf_work_make(work, NULL, &why);

    if (err == KERF_OK && tls && keys == NULL)
        err = kerf_fail(&why, KERF_EINVAL, KERF_PEER_TLS " is not set");
    if (err == KERF_OK)
        err = kerf_path_join(store, work, "store");
    if (err == KERF_OK)
        err = kerf_path_join(input, work, "x.npy");
    if (err == KERF_OK)
        err = write_input(input, &why);
    for (int phase = 0; err == KERF_OK && phase < 2; phase++)
        err = run_phase(peer, phase, store, input, keys, &why);
    kerf_work_remove(work);
    if (err != KERF_OK) {
        (void)fprintf(stderr, "kerf edge: %s\n",
                      why.text[0] != '\0' ? why.text : kerf_err_text(err));
        return 1;
    }
    kerf_peer_print(peer);
    return 0;
}

/* An edge of one's own: the cloud on this machine finishes the network that it
 * ships, on each INPUT. Usage: edge PORT STORE INPUT... */
#include <kerf/edge.h>

#include <stdio.h>
#include <stdlib.h>

static void
on_answer(void *ctx, const kerf_edge_result *r)
{
    const float *v = r->count > 0 ? r->output[0].data : NULL; /* f32: digits */
    size_t n = r->count > 0 ? r->output[0].bytes / sizeof *v : 0;
    size_t best = 0;

    (void)ctx;
    for (size_t i = 1; i < n; i++)
        best = v[i] > v[best] ? i : best;
    if (n > 0)
        (void)printf("%s: class %zu, %.3f\n", r->name, best, (double)v[best]);
    else
        (void)printf("%s: %s\n", r->name, r->why);
}

int
main(int argc, char **argv)
{
    kerf_edge_opts opts = {.host = "127.0.0.1", .repeat = 1};
    const kerf_edge_events events = {.answer = on_answer};
    kerf_edge_total total = {0};
    kerf_detail why = {{0}};
    kerf_edge *edge = NULL;
    kerf_err err;

    if (argc < 4)
        return 2;
    opts.port = atoi(argv[1]);
    opts.store = argv[2];
    opts.inputs = (const char *const *)argv + 3;
    opts.input_count = (size_t)argc - 3;
    err = kerf_edge_open(&edge, &opts, &events, &why);
    if (err == KERF_OK)
        err = kerf_edge_run(edge, &total, &why);
    if (err != KERF_OK)
        (void)fprintf(stderr, "edge: %s\n", why.text);
    kerf_edge_close(edge);
    return err == KERF_OK && total.failed + total.skipped == 0 ? 0 : 1;
}

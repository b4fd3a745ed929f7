#include "cut/halves.h"

#include <stdlib.h>

kerf_err
kerf_halves_make(kerf_halves *h, const kerf_graph *g, const kerf_cut *cut,
                 kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (int i = 0; i < KERF_HALF_COUNT && err == KERF_OK; i++) {
        kerf_half *half = &h->half[i];
        kerf_part part = {0};

        err = kerf_cut_part(g, cut, i == KERF_HEAD, &part);
        if (err == KERF_OK)
            err = kerf_graph_write(g, &part, &half->graph, &half->weights, why);
        kerf_part_fini(&part);
        if (err != KERF_OK)
            return kerf_fail_in(why, err, i == KERF_HEAD ? "head" : "tail");
    }
    return KERF_OK;
}

kerf_err
kerf_half_gather(kerf_half *half, kerf_format format, kerf_detail *why)
{
    const uint8_t *graph = NULL;
    const uint8_t *weights = NULL;
    kerf_err err = kerf_rope_gather(&half->graph, &graph, &half->own[0]);

    if (err == KERF_OK)
        err = kerf_rope_gather(&half->weights, &weights, &half->own[1]);
    if (err != KERF_OK)
        return kerf_fail(why, err, "no memory for %zu bytes",
                         half->graph.len + half->weights.len);
    half->bytes = (kerf_model_bytes){.format = format,
                                     .graph = graph,
                                     .graph_len = half->graph.len,
                                     .weights = weights,
                                     .weights_len = half->weights.len};
    return KERF_OK;
}

void
kerf_half_fini(kerf_half *half)
{
    kerf_rope_fini(&half->graph);
    kerf_rope_fini(&half->weights);
    free(half->own[0]);
    free(half->own[1]);
    *half = (kerf_half){0};
}

void
kerf_halves_fini(kerf_halves *h)
{
    for (int i = 0; i < KERF_HALF_COUNT; i++)
        kerf_half_fini(&h->half[i]);
}

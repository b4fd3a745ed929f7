/* An ONNX model as somebody else made it: what can be opened can be listed, and
 * what can be written of it can be opened again and has the ports it should
 * have. */
#include "graph/cuts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

#define CUTS 5 /* made per model: the first, the last, and between */

struct model {
    uint8_t *bytes;
    kerf_graph *g;
};

static kerf_err
open_bytes(kerf_graph **g, const uint8_t *data, size_t len)
{
    const kerf_model_bytes m = {
        .format = KERF_FORMAT_ONNX, .graph = data, .graph_len = len};
    kerf_detail why = {{0}};
    kerf_err err = kerf_graph_open(g, &m, &why);

    CHECK(err == KERF_OK || why.text[0] != '\0');
    return err;
}

/* What Kerf wrote, as a model. */
static struct model
open_rope(kerf_rope *rope)
{
    struct model m = {0};

    CHECK(kerf_rope_flatten(rope, &m.bytes) == KERF_OK);
    CHECK(open_bytes(&m.g, m.bytes, rope->len) == KERF_OK);
    kerf_rope_fini(rope);
    return m;
}

static void
close_model(struct model *m)
{
    kerf_graph_close(m->g);
    free(m->bytes);
}

static struct model
write_half(const kerf_graph *g, const kerf_cut *cut, bool head)
{
    kerf_part part = {0};
    kerf_rope rope = {0}, weights = {0};
    struct model m = {0};
    kerf_detail why;

    CHECK(kerf_cut_part(g, cut, head, &part) == KERF_OK);
    if (kerf_graph_write(g, &part, &rope, &weights, &why) == KERF_OK) {
        m = open_rope(&rope);
        CHECK(m.g->input_count == part.in_count);
        CHECK(m.g->output_count == part.out_count);
    }
    kerf_part_fini(&part);
    return m;
}

static void
make_cut(const kerf_graph *g, const kerf_cut *cut)
{
    struct model head = write_half(g, cut, true);
    struct model tail = write_half(g, cut, false);
    kerf_rope rope = {0}, weights = {0};
    kerf_detail why;

    if (head.g != NULL && tail.g != NULL &&
        kerf_graph_join(head.g, tail.g, &rope, &weights, &why) == KERF_OK) {
        struct model whole = open_rope(&rope);

        CHECK(whole.g->output_count == g->output_count);
        CHECK(whole.g->input_count <= g->input_count);
        close_model(&whole);
    }
    close_model(&head);
    close_model(&tail);
}

static void
write_probe(const kerf_graph *g, bool is_hollow)
{
    kerf_rope rope = {0}, weights = {0};
    uint32_t *value = NULL;
    size_t count = 0;
    kerf_detail why;

    if (kerf_graph_write_probe(g, is_hollow, &rope, &weights, &value, &count,
                               &why) == KERF_OK) {
        struct model m = open_rope(&rope);

        CHECK(m.g->output_count == count);
        close_model(&m);
    }
    free(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_graph *g = NULL;
    kerf_cuts cuts = {0};
    kerf_detail why;

    if (open_bytes(&g, data, size) != KERF_OK)
        return 0;
    CHECK(kerf_cuts_list(g, &cuts, &why) == KERF_OK);
    for (size_t i = 0; i < CUTS && cuts.count > 0; i++) {
        const kerf_cut *cut = &cuts.cut[i * (cuts.count - 1) / (CUTS - 1)];

        if (cut->refused == NULL)
            make_cut(g, cut);
    }
    write_probe(g, false);
    write_probe(g, true);
    kerf_cuts_fini(&cuts);
    kerf_graph_close(g);
    return 0;
}

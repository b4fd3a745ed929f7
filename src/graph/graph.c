#include "graph/graph.h"

#include "graph/graph_own.h"

#include <stdlib.h>
#include <string.h>

/* Names are compared up to here; real ones are shorter. */
#define NEAR_LEN 128
/* And so many of them: a person waits. */
#define NEAR_VALUES 65536

static const kerf_graph_format *
format_of(kerf_format format)
{
    switch (format) {
    case KERF_FORMAT_PADDLE:
        return &kerf_graph_paddle;
    case KERF_FORMAT_ONNX:
        return &kerf_graph_onnx;
    case KERF_FORMAT_IR:
        break;
    }
    return NULL;
}

kerf_err
kerf_graph_open(kerf_graph **out, const kerf_model_bytes *m, kerf_detail *why)
{
    const kerf_graph_format *format = format_of(m->format);
    kerf_graph *g = NULL;
    kerf_err err;

    if (format == NULL)
        return kerf_fail(why, KERF_ENOTSUP,
                         "OpenVINO's own format cannot be cut: bring the "
                         "Paddle or ONNX model that it was made from");
    err = kerf_graph_new(&g, m->format, format);
    if (err != KERF_OK)
        return kerf_fail(why, err, "%s", kerf_err_text(err));
    err = format->read(g, m, why);
    if (err == KERF_OK)
        err = kerf_graph_settle(g, why);
    if (err != KERF_OK) {
        kerf_graph_close(g);
        return err;
    }
    *out = g;
    return KERF_OK;
}

uint32_t
kerf_graph_find(const kerf_graph *g, const char *name)
{
    return kerf_graph_lookup(g, name, strlen(name));
}

bool
kerf_value_can_cross(const kerf_graph *g, uint32_t value)
{
    const kerf_value *v = &g->value[value];

    return !v->is_const && v->type != KERF_VALUE_OTHER &&
           (v->node == KERF_GRAPH_NONE || g->node[v->node].is_live);
}

/* Edits, each of one letter or of two neighbours swapped, from a to b. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned row[3][NEAR_LEN + 1];
    unsigned *two = row[0], *one = row[1], *now = row[2]; /* rows ago */
    size_t a_len = strnlen(a, NEAR_LEN), b_len = strnlen(b, NEAR_LEN);

    for (size_t k = 0; k <= b_len; k++)
        two[k] = one[k] = (unsigned)k;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *free_row = two;

        now[0] = (unsigned)i;
        for (size_t k = 1; k <= b_len; k++) {
            unsigned best = one[k - 1] + (a[i - 1] != b[k - 1]);

            if (one[k] + 1 < best)
                best = one[k] + 1;
            if (now[k - 1] + 1 < best)
                best = now[k - 1] + 1;
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] &&
                a[i - 2] == b[k - 1] && two[k - 2] + 1 < best)
                best = two[k - 2] + 1;
            now[k] = best;
        }
        two = one;
        one = now;
        now = free_row;
    }
    return one[b_len];
}

size_t
kerf_graph_nearest(const kerf_graph *g, const char *name, const char *near[3])
{
    unsigned far[3] = {0};
    size_t count = 0;

    for (uint32_t v = 0; v < g->value_count && v < NEAR_VALUES; v++) {
        const char *has = g->value[v].name;
        size_t at;
        unsigned d;

        if (!kerf_value_can_cross(g, v) || kerf_graph_find(g, has) != v)
            continue;
        d = distance(name, has);
        at = count;
        while (at > 0 && far[at - 1] > d)
            at--;
        if (at == 3)
            continue;
        if (count < 3)
            count++;
        for (size_t i = count - 1; i > at; i--) {
            far[i] = far[i - 1];
            near[i] = near[i - 1];
        }
        far[at] = d;
        near[at] = has;
    }
    return count;
}

void
kerf_graph_set_type(kerf_graph *g, uint32_t value, kerf_dtype dtype,
                    const kerf_shape *shape, const kerf_shape *fixed)
{
    kerf_value *v = &g->value[value];

    v->type = KERF_VALUE_TENSOR;
    v->dtype = dtype;
    if (shape != NULL) {
        v->shape = *shape;
        v->is_shaped = true;
    }
    if (fixed != NULL) {
        v->fixed = *fixed;
        v->is_fixed = kerf_shape_is_static(fixed);
    }
}

kerf_err
kerf_graph_write(const kerf_graph *g, const kerf_part *part, kerf_rope *graph,
                 kerf_rope *weights, kerf_detail *why)
{
    return g->own->format->write(g, part, graph, weights, why);
}

/* What a node or the caller of the network reads: an engine may not even have
 * what nobody does (what a batch_norm saves for training, shapes before a
 * reshape). */
static void
mark_read(const kerf_graph *g, bool *read)
{
    for (size_t i = 0; i < g->node_count; i++) {
        for (size_t k = 0; k < g->node[i].in_count && g->node[i].is_live; k++) {
            if (g->node[i].in[k] != KERF_GRAPH_NONE)
                read[g->node[i].in[k]] = true;
        }
    }
    for (size_t i = 0; i < g->output_count; i++)
        read[g->output[i]] = true;
}

kerf_err
kerf_graph_write_probe(const kerf_graph *g, bool is_hollow, kerf_rope *graph,
                       kerf_rope *weights, uint32_t **value, size_t *count,
                       kerf_detail *why)
{
    kerf_part part = {0};
    bool *read = calloc(g->value_count + 1, sizeof *read);
    uint32_t *out = calloc(g->value_count + 1, sizeof *out);
    kerf_err err = kerf_part_whole(g, &part);

    if (read == NULL || out == NULL || err != KERF_OK) {
        err = kerf_fail(why, KERF_ENOMEM, "out of memory");
        goto out;
    }
    mark_read(g, read);
    free(part.out);
    part.out = out;
    part.out_count = 0;
    part.is_hollow = is_hollow;
    out = NULL;
    for (uint32_t v = 0; v < g->value_count; v++) {
        if (read[v] && kerf_value_can_cross(g, v) &&
            kerf_graph_find(g, g->value[v].name) == v)
            part.out[part.out_count++] = v;
    }
    err = kerf_graph_write(g, &part, graph, weights, why);
    if (err != KERF_OK)
        goto out;
    *value = part.out; /* the caller's from here */
    *count = part.out_count;
    part.out = NULL;
out:
    kerf_part_fini(&part);
    free(read);
    free(out);
    return err;
}

const char *
kerf_value_lacks(const kerf_value *v)
{
    return v->is_maybe ? "has no value unless a branch is taken"
                       : "is no tensor";
}

static bool
is_output(const kerf_graph *g, uint32_t value)
{
    bool found = false;

    for (size_t i = 0; i < g->output_count; i++)
        found |= g->output[i] == value;
    return found;
}

kerf_err
kerf_graph_write_keeping(const kerf_graph *g, const uint32_t *value,
                         size_t count, kerf_rope *graph, kerf_rope *weights,
                         kerf_detail *why)
{
    kerf_part part = {0};
    kerf_err err = kerf_part_whole(g, &part);
    uint32_t *out =
        err == KERF_OK
            ? realloc(part.out, (part.out_count + count + 1) * sizeof *out)
            : NULL;

    if (out == NULL) {
        kerf_part_fini(&part);
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    }
    part.out = out;
    for (size_t i = 0; i < count; i++) {
        if (g->value[value[i]].kind != KERF_VALUE_INPUT &&
            !is_output(g, value[i]))
            part.out[part.out_count++] = value[i];
    }
    err = kerf_graph_write(g, &part, graph, weights, why);
    kerf_part_fini(&part);
    return err;
}

/* Whether the i-th output of the head can be the i-th input of the tail, as far
 * as both are known. */
static kerf_err
check_fit(const kerf_value *give, const kerf_value *take, size_t i,
          kerf_detail *why)
{
    char has[KERF_SHAPE_TEXT], wants[KERF_SHAPE_TEXT];
    bool same = true;

    if (give->type != KERF_VALUE_TENSOR || take->type != KERF_VALUE_TENSOR)
        return KERF_OK;
    if (give->is_shaped && take->is_shaped) {
        same = give->shape.rank == take->shape.rank;
        for (uint32_t d = 0; same && d < give->shape.rank; d++)
            same = give->shape.dims[d] < 0 || take->shape.dims[d] < 0 ||
                   give->shape.dims[d] == take->shape.dims[d];
    }
    if (same && give->dtype == take->dtype)
        return KERF_OK;
    return kerf_fail(
        why, KERF_EMISMATCH,
        "output %zu of the head is %s %s, input %zu of the tail "
        "is %s %s",
        i, kerf_dtype_name(give->dtype), kerf_shape_text(has, &give->shape), i,
        kerf_dtype_name(take->dtype), kerf_shape_text(wants, &take->shape));
}

kerf_err
kerf_graph_join(const kerf_graph *head, const kerf_graph *tail,
                kerf_rope *graph, kerf_rope *weights, kerf_detail *why)
{
    if (head->format != tail->format)
        return kerf_fail(why, KERF_EMISMATCH,
                         "head and tail are of different formats");
    if (head->output_count > tail->input_count)
        return kerf_fail(why, KERF_EMISMATCH,
                         "the head gives %zu tensors, the tail takes %zu",
                         head->output_count, tail->input_count);
    for (size_t i = 0; i < head->output_count; i++) {
        const kerf_value *give = &head->value[head->output[i]];
        const kerf_value *take = &tail->value[tail->input[i]];
        kerf_err err = check_fit(give, take, i, why);

        if (err != KERF_OK)
            return err;
    }
    return head->own->format->join(head, tail, graph, weights, why);
}

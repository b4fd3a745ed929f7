#include "base/text.h"
#include "graph/graph_own.h"

#include <stdlib.h>
#include <string.h>

/* Smaller parameters may say how large something else is. */
#define HOLLOW_BYTES 16384

/* What a part is missing, for a person. */
static kerf_err
fail_value(const kerf_graph *g, uint32_t value, kerf_detail *why, kerf_err err,
           const char *what)
{
    char safe[160];

    return kerf_fail(why, err, "tensor '%s' %s",
                     kerf_text_safe(safe, sizeof safe, g->value[value].name),
                     what);
}

void
kerf_part_fini(kerf_part *part)
{
    free(part->node);
    free(part->in);
    free(part->out);
    *part = (kerf_part){0};
}

bool
kerf_part_hollows(const kerf_part *part, const kerf_value *v)
{
    bool is_float = v->dtype == KERF_F32 || v->dtype == KERF_F16 ||
                    v->dtype == KERF_BF16 || v->dtype == KERF_F64;

    return part->is_hollow && v->bytes >= HOLLOW_BYTES &&
           v->type == KERF_VALUE_TENSOR && v->is_shaped && is_float;
}

kerf_err
kerf_part_whole(const kerf_graph *g, kerf_part *out)
{
    kerf_part part = {.in_count = g->input_count, .out_count = g->output_count};

    part.node = calloc(g->node_count + 1, sizeof *part.node);
    part.in = calloc(part.in_count + 1, sizeof *part.in);
    part.out = calloc(part.out_count + 1, sizeof *part.out);
    if (part.node == NULL || part.in == NULL || part.out == NULL) {
        kerf_part_fini(&part);
        return KERF_ENOMEM;
    }
    for (size_t i = 0; i < g->node_count; i++)
        part.node[i] = g->node[i].is_live;
    for (size_t i = 0; i < part.in_count; i++)
        part.in[i] = g->input[i];
    for (size_t i = 0; i < part.out_count; i++)
        part.out[i] = g->output[i];
    *out = part;
    return KERF_OK;
}

/* Whether an output of the node is in the set. */
static bool
gives_one_of(const kerf_node *n, const bool *set, uint32_t *which)
{
    for (size_t k = 0; k < n->out_count; k++) {
        *which = n->out[k];
        if (n->out[k] != KERF_GRAPH_NONE && set[n->out[k]])
            return true;
    }
    return false;
}

/* Marks what leads to the outputs, from the last node to the first. wanted:
 * [value_count], what somebody reads and the part does not take; is_in: what it
 * takes. */
static kerf_err
mark_needs(const kerf_graph *g, const kerf_part *part, const bool *is_in,
           bool *wanted, bool *need_node, kerf_detail *why)
{
    uint32_t v = KERF_GRAPH_NONE;

    for (size_t i = 0; i < part->out_count; i++)
        wanted[part->out[i]] = !is_in[part->out[i]];
    for (size_t i = g->node_count; i-- > 0;) {
        const kerf_node *n = &g->node[i];

        if (!gives_one_of(n, wanted, &v))
            continue;
        if (!part->node[i] && !n->is_const)
            return fail_value(g, v, why, KERF_EINVAL,
                              "is needed and not given in this part");
        if (gives_one_of(n, is_in, &v))
            return fail_value(g, v, why, KERF_ENOTSUP,
                              "is an input of this part, and a node that it "
                              "needs gives it too");
        need_node[i] = true;
        for (size_t k = 0; k < n->in_count; k++) {
            if (n->in[k] != KERF_GRAPH_NONE)
                wanted[n->in[k]] = !is_in[n->in[k]];
        }
    }
    for (v = 0; v < g->value_count; v++) {
        if (wanted[v] && g->value[v].kind == KERF_VALUE_INPUT)
            return fail_value(g, v, why, KERF_EINVAL,
                              "is an input of the network that this part "
                              "needs and does not take");
    }
    return KERF_OK;
}

/* The values that the part reads or gives at its ports. */
static void
mark_values(const kerf_graph *g, const kerf_part *part, const bool *need_node,
            bool *need_value)
{
    for (size_t i = 0; i < part->out_count; i++)
        need_value[part->out[i]] = true;
    for (size_t i = 0; i < g->node_count; i++) {
        const kerf_node *n = &g->node[i];

        for (size_t k = 0; k < n->in_count && need_node[i]; k++) {
            if (n->in[k] != KERF_GRAPH_NONE)
                need_value[n->in[k]] = true;
        }
    }
}

/* Follows each name through the part as it will run; now: [value_count], what
 * a name's first value holds at this time. */
static kerf_err
check_versions(const kerf_graph *g, const kerf_part *part,
               const bool *need_node, const bool *need_value, uint32_t *now,
               kerf_detail *why)
{
    static const char mixed[] =
        "is written more than once, and this part would read the wrong "
        "version of it: cut elsewhere";
    const uint32_t *first = g->own->first;

    memset(now, 0xFF, g->value_count * sizeof *now);
    for (size_t v = 0; v < g->value_count; v++) {
        if (need_value[v] && g->value[v].kind == KERF_VALUE_PARAM)
            now[first[v]] = (uint32_t)v;
    }
    for (size_t i = 0; i < part->in_count; i++) {
        uint32_t v = part->in[i];

        if (now[first[v]] != KERF_GRAPH_NONE)
            return fail_value(g, v, why, KERF_ENOTSUP, mixed);
        now[first[v]] = v;
    }
    for (size_t i = 0; i < g->node_count; i++) {
        uint32_t at = g->own->file_order[i];
        const kerf_node *n = &g->node[at];

        if (!need_node[at])
            continue;
        for (size_t k = 0; k < n->in_count; k++) {
            uint32_t v = n->in[k];

            if (v != KERF_GRAPH_NONE && now[first[v]] != v)
                return fail_value(g, v, why, KERF_ENOTSUP, mixed);
        }
        for (size_t k = 0; k < n->out_count; k++) {
            if (n->out[k] != KERF_GRAPH_NONE)
                now[first[n->out[k]]] = n->out[k];
        }
    }
    for (size_t i = 0; i < part->out_count; i++) {
        if (now[first[part->out[i]]] != part->out[i])
            return fail_value(g, part->out[i], why, KERF_ENOTSUP, mixed);
    }
    return KERF_OK;
}

kerf_err
kerf_part_needs(const kerf_graph *g, const kerf_part *part, bool *need_node,
                bool *need_value, kerf_detail *why)
{
    bool *is_in = calloc(g->value_count + 1, sizeof *is_in);
    bool *wanted = calloc(g->value_count + 1, sizeof *wanted);
    uint32_t *now = calloc(g->value_count + 1, sizeof *now);
    kerf_err err = KERF_ENOMEM;

    if (is_in == NULL || wanted == NULL || now == NULL)
        goto out;
    for (size_t i = 0; i < part->in_count; i++)
        is_in[part->in[i]] = true;
    err = mark_needs(g, part, is_in, wanted, need_node, why);
    mark_values(g, part, need_node, need_value);
    if (err == KERF_OK && g->own->has_overwritten)
        err = check_versions(g, part, need_node, need_value, now, why);
out:
    free(is_in);
    free(wanted);
    free(now);
    return err;
}

/*
 * What a node reads: its inputs, and the names of the graph around that its
 * sub-graphs (If, Loop, Scan) read. A name is a sub-graph's own when it or a
 * graph around it, inside the node, gives it: as input, initializer or output
 * of a node.
 */
#include "graph/onnx_own.h"

#include "graph/ops.h"

#include <stdlib.h>
#include <string.h>

#define READS_MAX ((size_t)4 * KERF_GRAPH_VALUES_MAX)
#define GRAPHS_DEEP_MAX 32

/* The names that a sub-graph gives. */
struct scope {
    const struct scope *outer;
    kerf_onnx_text *name; /* owned; sorted */
    size_t count, room;
};

struct walk {
    kerf_onnx_reads *reads;
    bool is_random;
    kerf_detail *why;
};

static kerf_err read_graph(struct walk *w, const struct scope *outer,
                           const kerf_wire_field *graph, unsigned deep);

kerf_err
kerf_onnx_grow(void **at, size_t count, size_t *room, size_t most, size_t size)
{
    size_t more = *room == 0 ? 16 : 2 * *room;
    void *bigger;

    if (count < *room)
        return KERF_OK;
    if (count >= most)
        return KERF_ETOOBIG;
    bigger = realloc(*at, more * size);
    if (bigger == NULL)
        return KERF_ENOMEM;
    *at = bigger;
    *room = more;
    return KERF_OK;
}

static kerf_err
add_text(kerf_onnx_text **list, size_t *count, size_t *room,
         kerf_onnx_text text, kerf_detail *why)
{
    void *at = *list;
    kerf_err err = kerf_onnx_grow(&at, *count, room, READS_MAX, sizeof text);

    *list = at;
    if (err != KERF_OK)
        return kerf_fail(why, err, "the names that nodes read: %s",
                         kerf_err_text(err));
    (*list)[(*count)++] = text;
    return KERF_OK;
}

static int
compare(const void *a, const void *b)
{
    return kerf_onnx_compare(a, b);
}

static bool
has(const struct scope *s, const kerf_onnx_text *name)
{
    for (; s != NULL; s = s->outer) {
        if (s->count > 0 && bsearch(name, s->name, s->count, sizeof *s->name,
                                    compare) != NULL)
            return true;
    }
    return false;
}

/* Every field of that number, of a message. */
static kerf_err
give_each(struct walk *w, struct scope *s, const kerf_wire_field *message,
          uint32_t number)
{
    kerf_rd r = kerf_wire_inside(message);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == number && f.wire == 2 && f.len > 0)
            err = add_text(&s->name, &s->count, &s->room,
                           kerf_onnx_text_of(&f), w->why);
    }
    return err;
}

static kerf_err
collect_given(struct walk *w, struct scope *s, const kerf_wire_field *graph)
{
    kerf_rd r = kerf_wire_inside(graph);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        kerf_onnx_text values;

        if (f.wire != 2)
            continue;
        switch (f.number) {
        case ONNX_GRAPH_NODE:
            err = give_each(w, s, &f, ONNX_NODE_OUTPUT);
            break;
        case ONNX_GRAPH_INPUT:
            err = give_each(w, s, &f, ONNX_INFO_NAME);
            break;
        case ONNX_GRAPH_PARAM:
            err = give_each(w, s, &f, ONNX_TENSOR_NAME);
            break;
        case ONNX_GRAPH_SPARSE:
            values = kerf_onnx_field_text(f.bytes, f.len, ONNX_SPARSE_VALUES);
            err = add_text(&s->name, &s->count, &s->room,
                           kerf_onnx_field_text((const uint8_t *)values.at,
                                                values.len, ONNX_TENSOR_NAME),
                           w->why);
            break;
        default:
            break;
        }
    }
    if (err == KERF_OK && s->count > 0)
        qsort(s->name, s->count, sizeof *s->name, compare);
    return err;
}

static kerf_err
see_read(struct walk *w, const struct scope *s, kerf_onnx_text name)
{
    if (name.len == 0 || has(s, &name))
        return KERF_OK;
    return add_text(&w->reads->name, &w->reads->count, &w->reads->room, name,
                    w->why);
}

/* The graphs among an attribute's fields. */
static kerf_err
read_attribute(struct walk *w, const struct scope *s,
               const kerf_wire_field *attribute, unsigned deep)
{
    kerf_rd r = kerf_wire_inside(attribute);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (kerf_onnx_inside(KERF_ONNX_ATTRIBUTE, &f) == KERF_ONNX_GRAPH)
            err = read_graph(w, s, &f, deep);
    }
    return err;
}

/* A node of a sub-graph. */
static kerf_err
read_inner(struct walk *w, const struct scope *s, const kerf_wire_field *node,
           unsigned deep)
{
    kerf_rd r = kerf_wire_inside(node);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    w->is_random |= kerf_onnx_is_random(node->bytes, node->len);
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_NODE_INPUT && f.wire == 2)
            err = see_read(w, s, kerf_onnx_text_of(&f));
        else if (f.number == ONNX_NODE_ATTRIBUTE && f.wire == 2)
            err = read_attribute(w, s, &f, deep);
    }
    return err;
}

static kerf_err
read_graph(struct walk *w, const struct scope *outer,
           const kerf_wire_field *graph, unsigned deep)
{
    struct scope s = {.outer = outer};
    kerf_rd r = kerf_wire_inside(graph);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    if (deep == GRAPHS_DEEP_MAX)
        return kerf_fail(w->why, KERF_ETOOBIG,
                         "graphs within graphs, deeper than %d",
                         GRAPHS_DEEP_MAX);
    err = collect_given(w, &s, graph);
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_GRAPH_NODE && f.wire == 2)
            err = read_inner(w, &s, &f, deep + 1);
        else if (f.number == ONNX_GRAPH_OUTPUT && f.wire == 2)
            err = see_read(
                w, &s, kerf_onnx_field_text(f.bytes, f.len, ONNX_INFO_NAME));
    }
    free(s.name);
    return err;
}

/* Sorts what sub-graphs read, from first on, and keeps each once. */
static void
keep_once(kerf_onnx_reads *reads, size_t first)
{
    size_t kept = first;

    if (reads->count - first < 2)
        return;
    qsort(&reads->name[first], reads->count - first, sizeof *reads->name,
          compare);
    for (size_t i = first + 1; i < reads->count; i++) {
        if (compare(&reads->name[kept], &reads->name[i]) != 0)
            reads->name[++kept] = reads->name[i];
    }
    reads->count = kept + 1;
}

kerf_err
kerf_onnx_reads_add(kerf_onnx_reads *reads, const uint8_t *node, size_t len,
                    bool *is_random, kerf_detail *why)
{
    struct walk w = {.reads = reads, .why = why};
    kerf_rd r = {.at = node, .left = len};
    kerf_err err = KERF_OK;
    size_t first;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_NODE_INPUT && f.wire == 2)
            err = add_text(&reads->name, &reads->count, &reads->room,
                           kerf_onnx_text_of(&f), why);
    }
    first = reads->count;
    r = (kerf_rd){.at = node, .left = len};
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_NODE_ATTRIBUTE && f.wire == 2)
            err = read_attribute(&w, NULL, &f, 0);
    }
    keep_once(reads, first);
    *is_random = w.is_random;
    return err;
}

/*
 * What a node reads: its inputs, and the names of the graph around that its
 * sub-graphs (If, Loop, Scan) read. A name is a sub-graph's own when it or a
 * graph around it, inside the node, gives it: as input, initializer or output
 * of a node.
 */
#include "graph/onnx_own.h"

#include <stdlib.h>

#define NAMES_MAX ((size_t)4 * KERF_GRAPH_VALUES_MAX)
#define GRAPHS_DEEP_MAX 32

/* The names that a sub-graph gives. */
struct scope {
    const struct scope *outer;
    kerf_onnx_names own; /* sorted */
};

struct walk {
    kerf_onnx_names *reads, *inner;
    kerf_detail *why;
};

static kerf_err read_graph(const struct walk *w, const struct scope *outer,
                           const kerf_wire_field *graph, unsigned deep);

kerf_err
kerf_onnx_names_add(kerf_onnx_names *names, kerf_onnx_text name,
                    kerf_detail *why)
{
    void *at = names->at;
    kerf_err err = kerf_graph_grow(&at, names->count, &names->room, NAMES_MAX,
                                   sizeof name);

    names->at = at;
    if (err != KERF_OK)
        return kerf_fail(why, err, "the names that nodes read: %s",
                         kerf_err_text(err));
    names->at[names->count++] = name;
    return KERF_OK;
}

static int
compare(const void *a, const void *b)
{
    return kerf_onnx_compare(a, b);
}

void
kerf_onnx_names_sort(kerf_onnx_names *names)
{
    if (names->count > 1)
        qsort(names->at, names->count, sizeof *names->at, compare);
}

bool
kerf_onnx_names_has(const kerf_onnx_names *names, kerf_onnx_text name)
{
    return names->count > 0 && bsearch(&name, names->at, names->count,
                                       sizeof *names->at, compare) != NULL;
}

/* Every text of that number in a message. */
static kerf_err
give_each(const struct walk *w, struct scope *s, const kerf_wire_field *message,
          uint32_t number)
{
    kerf_rd r = kerf_wire_inside(message);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == number && f.wire == 2 && f.len > 0)
            err = kerf_onnx_names_add(&s->own, kerf_onnx_text_of(&f), w->why);
    }
    return err;
}

/* What one field of a graph gives. */
static kerf_err
give_field(const struct walk *w, struct scope *s, const kerf_wire_field *f)
{
    kerf_rd r;
    kerf_err err = KERF_OK;
    kerf_wire_field values;

    switch (f->wire == 2 ? f->number : 0) {
    case ONNX_GRAPH_NODE:
        return give_each(w, s, f, ONNX_NODE_OUTPUT);
    case ONNX_GRAPH_INPUT:
        return give_each(w, s, f, ONNX_INFO_NAME);
    case ONNX_GRAPH_PARAM:
        return give_each(w, s, f, ONNX_TENSOR_NAME);
    case ONNX_GRAPH_SPARSE:
        r = kerf_wire_inside(f);
        while (err == KERF_OK && kerf_wire_next(&r, &values)) {
            if (values.number == ONNX_SPARSE_VALUES && values.wire == 2)
                err = give_each(w, s, &values, ONNX_TENSOR_NAME);
        }
        return err;
    default:
        return KERF_OK;
    }
}

static kerf_err
collect_given(const struct walk *w, struct scope *s,
              const kerf_wire_field *graph)
{
    kerf_rd r = kerf_wire_inside(graph);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f))
        err = give_field(w, s, &f);
    for (size_t i = 0; i < s->own.count && w->inner != NULL && err == KERF_OK;
         i++)
        err = kerf_onnx_names_add(w->inner, s->own.at[i], w->why);
    kerf_onnx_names_sort(&s->own);
    return err;
}

static kerf_err
see_read(const struct walk *w, const struct scope *s, kerf_onnx_text name)
{
    if (name.len == 0)
        return KERF_OK;
    for (; s != NULL; s = s->outer) {
        if (kerf_onnx_names_has(&s->own, name))
            return KERF_OK;
    }
    return kerf_onnx_names_add(w->reads, name, w->why);
}

/* The graphs among an attribute's fields. */
static kerf_err
read_attribute(const struct walk *w, const struct scope *s,
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
read_inner(const struct walk *w, const struct scope *s,
           const kerf_wire_field *node, unsigned deep)
{
    kerf_rd r = kerf_wire_inside(node);
    kerf_err err = KERF_OK;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_NODE_INPUT && f.wire == 2)
            err = see_read(w, s, kerf_onnx_text_of(&f));
        else if (f.number == ONNX_NODE_ATTRIBUTE && f.wire == 2)
            err = read_attribute(w, s, &f, deep);
    }
    return err;
}

static kerf_err
read_graph(const struct walk *w, const struct scope *outer,
           const kerf_wire_field *graph, unsigned deep)
{
    struct scope s = {.outer = outer};
    kerf_rd r = kerf_wire_inside(graph);
    kerf_err err;
    kerf_wire_field f;

    if (deep == GRAPHS_DEEP_MAX)
        return kerf_fail(w->why, KERF_ETOOBIG,
                         "graphs stand in graphs, deeper than %d",
                         GRAPHS_DEEP_MAX);
    err = collect_given(w, &s, graph);
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_GRAPH_NODE && f.wire == 2)
            err = read_inner(w, &s, &f, deep + 1);
        else if (f.number == ONNX_GRAPH_OUTPUT && f.wire == 2)
            err = see_read(
                w, &s, kerf_onnx_field_text(f.bytes, f.len, ONNX_INFO_NAME));
    }
    free(s.own.at);
    return err;
}

/* Sorts what sub-graphs read, from first on, and keeps each once. */
static void
keep_once(kerf_onnx_names *reads, size_t first)
{
    size_t kept = first;

    if (reads->count - first < 2)
        return;
    qsort(&reads->at[first], reads->count - first, sizeof *reads->at, compare);
    for (size_t i = first + 1; i < reads->count; i++) {
        if (compare(&reads->at[kept], &reads->at[i]) != 0)
            reads->at[++kept] = reads->at[i];
    }
    reads->count = kept + 1;
}

kerf_err
kerf_onnx_reads_add(kerf_onnx_names *reads, kerf_onnx_names *inner,
                    const uint8_t *node, size_t len, kerf_detail *why)
{
    struct walk w = {.reads = reads, .inner = inner, .why = why};
    kerf_rd r = {.at = node, .left = len};
    kerf_err err = KERF_OK;
    size_t first;
    kerf_wire_field f;

    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_NODE_INPUT && f.wire == 2)
            err = kerf_onnx_names_add(reads, kerf_onnx_text_of(&f), why);
    }
    first = reads->count;
    r = (kerf_rd){.at = node, .left = len};
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.number == ONNX_NODE_ATTRIBUTE && f.wire == 2)
            err = read_attribute(&w, NULL, &f, 0);
    }
    keep_once(reads, first);
    return err;
}

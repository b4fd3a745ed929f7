/*
 * graph_text.h - graphs for tests, written as text:
 *
 *     "in x | param w | relu x -> y | add y w -> z | out z"
 *
 * One statement between bars; "_" is a left-out input or output. Ops are
 * Paddle's and ONNX's; "shape" looks at shapes only.
 */
#ifndef KERF_TESTS_GRAPH_TEXT_H
#define KERF_TESTS_GRAPH_TEXT_H

#include "graph/graph_own.h"

#include <stdio.h>
#include <string.h>

static bool
text_is_shape_op(const char *op)
{
    return strcmp(op, "shape") == 0;
}

static void
text_close(void *state)
{
    (void)state;
}

static const kerf_graph_format text_format = {.close = text_close,
                                              .is_shape_op = text_is_shape_op};

static kerf_err
text_port(kerf_graph *g, const char *kind, const char *name)
{
    uint32_t v = KERF_GRAPH_NONE;
    kerf_err err;

    if (strcmp(kind, "out") == 0)
        return kerf_graph_add_output(g, kerf_graph_find(g, name));
    err = kerf_graph_add_value(
        g, name, strlen(name),
        strcmp(kind, "in") == 0 ? KERF_VALUE_INPUT : KERF_VALUE_PARAM, &v);
    if (err == KERF_OK && strcmp(kind, "in") == 0)
        err = kerf_graph_add_input(g, v);
    return err;
}

static kerf_err
text_statement(kerf_graph *g, char *statement, kerf_detail *why)
{
    char *rest = NULL;
    const char *op = strtok_r(statement, " ", &rest);
    bool is_out = false;
    uint32_t v = 0;
    kerf_err err = KERF_OK;
    bool is_port = strcmp(op, "in") == 0 || strcmp(op, "out") == 0 ||
                   strcmp(op, "param") == 0;

    if (!is_port)
        err = kerf_graph_add_node(g, op, strlen(op), "", 0, &v);
    for (const char *word;
         err == KERF_OK && (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        size_t len = strcmp(word, "_") == 0 ? 0 : strlen(word);

        if (is_port)
            err = text_port(g, op, word);
        else if (strcmp(word, "->") == 0)
            is_out = true;
        else if (is_out)
            err = kerf_graph_add_out(g, word, len, &v, why);
        else
            err = kerf_graph_add_in(g, word, len, why);
    }
    return err;
}

/* kerf_graph_close() it. */
static kerf_err
text_graph(kerf_graph **out, const char *text, kerf_detail *why)
{
    char copy[4096];
    char *rest = NULL;
    kerf_graph *g = NULL;
    kerf_err err = kerf_graph_new(&g, KERF_FORMAT_ONNX, &text_format);

    (void)snprintf(copy, sizeof copy, "%s", text);
    for (char *s = strtok_r(copy, "|", &rest); err == KERF_OK && s != NULL;
         s = strtok_r(NULL, "|", &rest))
        err = text_statement(g, s, why);
    if (err == KERF_OK)
        err = kerf_graph_settle(g, why);
    if (err != KERF_OK) {
        kerf_graph_close(g);
        return err;
    }
    *out = g;
    return KERF_OK;
}

#endif

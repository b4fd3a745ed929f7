/*
 * The table of cuts. On a terminal it fits the width; in a file or a pipe names
 * are whole, since they are what --at takes.
 */
#include "base/text.h"
#include "cli/cut_list.h"

#include <stdio.h>
#include <string.h>

/* Columns; what a terminal has more is shared out to the names. */
struct columns {
    int after, name, shape;
    bool flops; /* also as a number */
};

enum {
    FIXED = 42, /* cut, marks, bytes, parameters, share, gaps */
    FLOPS = 7,
    SHAPE_LEAST = 8,
    AFTER_LEAST = 7,
    NAME_LEAST = 10,
};

/* Of what crosses, the tensor that is most of it; the first when sizes are not
 * known. */
static const kerf_value *
main_value(const kerf_graph *g, const kerf_cut *cut)
{
    const kerf_value *most = &g->value[cut->value[0]];
    uint64_t most_bytes = 0;

    for (size_t i = 0; i < cut->count; i++) {
        const kerf_value *v = &g->value[cut->value[i]];
        uint64_t bytes = 0;

        if (kerf_value_bytes(v, &bytes) && bytes > most_bytes) {
            most = v;
            most_bytes = bytes;
        }
    }
    return most;
}

/* The cell of what crosses: one tensor's name, and how many more. */
static void
name_text(char *out, size_t cap, const kerf_graph *g, const kerf_cut *cut)
{
    if (cut->count == 0)
        (void)snprintf(out, cap, "nothing");
    else if (cut->count == 1)
        (void)snprintf(out, cap, "%s", main_value(g, cut)->name);
    else
        (void)snprintf(out, cap, "%s +%zu", main_value(g, cut)->name,
                       cut->count - 1);
}

static void
shape_text(char *out, size_t cap, const kerf_graph *g, const kerf_cut *cut)
{
    char shape[KERF_SHAPE_TEXT];
    const kerf_value *v;

    out[0] = '\0';
    if (cut->count == 0)
        return;
    v = main_value(g, cut);
    (void)snprintf(out, cap, "%s %s",
                   v->type == KERF_VALUE_TENSOR ? kerf_dtype_name(v->dtype)
                                                : "?",
                   kerf_cut_shape_text(shape, v));
}

/* "relu"; with the tensor where that is not what crosses. */
static void
after_text(char *out, size_t cap, const kerf_graph *g, const kerf_cut *cut)
{
    const char *tensor = kerf_cut_after(g, cut);

    if (cut->after == KERF_GRAPH_NONE)
        (void)snprintf(out, cap, cut->index == 0 ? "the input" : "");
    else if (cut->count > 0 && strcmp(tensor, main_value(g, cut)->name) == 0)
        (void)snprintf(out, cap, "%s", kerf_cut_after_op(g, cut));
    else
        (void)snprintf(out, cap, "%s %s", kerf_cut_after_op(g, cut), tensor);
}

static int
longer(int columns, const char *text)
{
    int has = (int)kerf_term_columns(text);

    return has > columns ? has : columns;
}

static void
shrink(int *columns, int least, int *over)
{
    int off = *columns - least < *over ? *columns - least : *over;

    if (off > 0) {
        *columns -= off;
        *over -= off;
    }
}

static struct columns
fit(const kerf_cut_list *list, const kerf_term *term)
{
    const kerf_graph *g = list->model->graph;
    struct columns c = {AFTER_LEAST, NAME_LEAST, SHAPE_LEAST, true};
    char text[512];
    int over;

    for (size_t i = 0; i < list->cuts.count; i++) {
        const kerf_cut *cut = &list->cuts.cut[i];

        after_text(text, sizeof text, g, cut);
        c.after = longer(c.after, text);
        name_text(text, sizeof text, g, cut);
        c.name = longer(c.name, text);
        shape_text(text, sizeof text, g, cut);
        c.shape = longer(c.shape, text);
    }
    if (!term->is_tty)
        return c;
    over = FIXED + FLOPS + c.after + c.name + c.shape - term->width;
    if (over > 0 && term->width < 100) {
        c.flops = false;
        over -= FLOPS;
    }
    /* The op comes first in its cell: what is cut off is the tensor. */
    shrink(&c.after, 16, &over);
    shrink(&c.name, 18, &over);
    shrink(&c.shape, 18, &over);
    shrink(&c.name, NAME_LEAST, &over);
    shrink(&c.after, AFTER_LEAST, &over);
    shrink(&c.shape, SHAPE_LEAST, &over);
    return c;
}

static void
show_header(const kerf_term *t, const struct columns *c)
{
    (void)fprintf(t->out, "%s%5s    ", kerf_term_bold(t), "cut");
    kerf_term_cell(t, "after", c->after, false);
    (void)fputs("  ", t->out);
    kerf_term_cell(t, "crosses", c->name, false);
    (void)fputc(' ', t->out);
    kerf_term_cell(t, "", c->shape, false);
    (void)fprintf(t->out, " %8s %5s %5s", "bytes", "head", "tail");
    if (c->flops)
        (void)fprintf(t->out, " %6s", "FLOPs");
    (void)fprintf(t->out, " %5s%s\n", c->flops ? "head" : "FLOPs",
                  kerf_term_plain(t));
}

static void
show_costs(const kerf_term *t, const struct columns *c, const kerf_cut *cut)
{
    double share = kerf_cut_head_share(cut);
    char bytes[16] = "?";
    char head[16], tail[16], flops[16] = "?";

    if (cut->bytes_known)
        kerf_cut_bytes_text(bytes, cut->bytes);
    if (cut->flops_known)
        kerf_cut_count_text(flops, cut->cost_head.flops);
    (void)fprintf(t->out, " %8s %5s %5s", bytes,
                  kerf_cut_count_text(head, cut->cost_head.params),
                  kerf_cut_count_text(tail, cut->cost_tail.params));
    if (c->flops)
        (void)fprintf(t->out, " %6s", flops);
    if (share >= 0.0)
        (void)fprintf(t->out, " %3.0f %%", share * 100.0);
    else
        (void)fprintf(t->out, " %5s", "?");
}

static void
show_row(const kerf_cut_list *list, const kerf_term *t, const struct columns *c,
         size_t i)
{
    const kerf_graph *g = list->model->graph;
    const kerf_cut *cut = &list->cuts.cut[i];
    const kerf_cut_mark *mark = &list->mark[i];
    char text[512];

    if (cut->refused != NULL)
        (void)fputs(kerf_term_dim(t), t->out);
    else if (mark->is_below)
        (void)fputs(kerf_term_green(t), t->out);
    (void)fprintf(t->out, "%5zu %c%c ", i, mark->is_below ? '<' : ' ',
                  mark->is_smallest ? '*' : ' ');
    after_text(text, sizeof text, g, cut);
    kerf_term_cell(t, text, c->after, false);
    (void)fputs("  ", t->out);
    if (cut->refused != NULL) {
        (void)snprintf(text, sizeof text, "refused: %s", cut->refused);
        if (t->is_tty)
            kerf_term_cell(t, text, t->width - c->after - 11, false);
        else
            (void)fputs(text, t->out);
    } else {
        name_text(text, sizeof text, g, cut);
        kerf_term_cell(t, text, c->name, false);
        (void)fputc(' ', t->out);
        shape_text(text, sizeof text, g, cut);
        kerf_term_cell(t, text, c->shape, false);
        show_costs(t, c, cut);
    }
    (void)fprintf(t->out, "%s\n", kerf_term_plain(t));
}

static void
show_pick(const kerf_cut_list *list, const kerf_term *t, kerf_cut_pick pick)
{
    static const char *const what[KERF_PICK_COUNT] = {
        "least work in the head, sending less than the input",
        ("least work in the head, sending less with 8 bits for each float "
         "(kerf edge --codec q8)"),
        "fewest bytes"};
    uint64_t whole = list->model->input_bytes;
    const kerf_cut *cut;
    double share;
    uint64_t sent;
    char bytes[16];
    char at[512];

    if (kerf_cut_is_repeated(list, pick))
        return;
    cut = &list->cuts.cut[list->pick[pick]];
    share = kerf_cut_head_share(cut);
    sent = cut->bytes;
    if (pick == KERF_PICK_LESS_Q8)
        sent = kerf_cut_q8_bytes(list->model->graph, cut);
    (void)fprintf(t->out, "%s:\n  %scut %zu%s, %s", what[pick],
                  kerf_term_bold(t), list->pick[pick], kerf_term_plain(t),
                  kerf_cut_bytes_text(bytes, sent));
    if (whole > 0)
        (void)fprintf(t->out, ", %.3g of the input's",
                      (double)sent / (double)whole);
    if (share >= 0.0)
        (void)fprintf(t->out, ", %.0f %% of the FLOPs in the head",
                      share * 100.0);
    (void)fprintf(t->out, ": --at %s\n",
                  kerf_cut_at_text(at, sizeof at, list->model->graph, cut));
}

static void
show_summary(const kerf_cut_list *list, const kerf_term *t, const char *path)
{
    const kerf_cut_model *m = list->model;
    size_t count = list->cuts.count;
    size_t below = 0;
    char text[1024];
    char safe[KERF_PATH_MAX];

    for (size_t i = 0; i < count; i++)
        below += list->mark[i].is_below;
    (void)fprintf(t->out, "\n%zu cuts", count);
    if (list->refused > 0)
        (void)fprintf(t->out, ", %zu refused", list->refused);
    if (m->input_bytes > 0) {
        (void)fprintf(t->out,
                      "; %zu cross less (<) than the input itself: %s%s", below,
                      kerf_cut_bytes_text(text, m->input_bytes),
                      m->image_port != KERF_PORTS_MAX ? ", u8" : "");
    }
    (void)fputs("; *: the least so far\n", t->out);
    for (int p = 0; p < KERF_PICK_COUNT; p++)
        show_pick(list, t, (kerf_cut_pick)p);
    if (list->pick[KERF_PICK_FEWEST] < count)
        (void)fprintf(t->out, "to make one: kerf cut %s --at NAME --out DIR\n",
                      kerf_text_safe(safe, sizeof safe, path));
}

void
kerf_cut_show(const kerf_cut_list *list, const char *path)
{
    struct columns c;
    kerf_term term;

    kerf_term_init(&term, stdout);
    c = fit(list, &term);
    show_header(&term, &c);
    for (size_t i = 0; i < list->cuts.count; i++)
        show_row(list, &term, &c, i);
    show_summary(list, &term, path);
}

#include "cli/cut_list.h"

#include "base/bytes.h"
#include "base/text.h"
#include "cli/json_line.h"
#include "graph/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_COLUMNS 60 /* names for --at up to so many */

/* Both sides compute something, or hold parameters where FLOPs are not known:
 * else nothing is shared. */
static bool
has_work(const kerf_cut *cut)
{
    if (cut->flops_known)
        return cut->cost_head.flops > 0 && cut->cost_tail.flops > 0;
    return cut->cost_head.params > 0 && cut->cost_tail.params > 0;
}

static bool
is_of_use(const kerf_cut *cut)
{
    return cut->refused == NULL && cut->bytes_known;
}

double
kerf_cut_head_share(const kerf_cut *cut)
{
    double all = (double)cut->cost_head.flops + (double)cut->cost_tail.flops;

    return cut->flops_known && all > 0.0 ? (double)cut->cost_head.flops / all
                                         : -1.0;
}

uint64_t
kerf_cut_q8_bytes(const kerf_graph *g, const kerf_cut *cut)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < cut->count; i++) {
        const kerf_value *v = &g->value[cut->value[i]];
        uint64_t bytes = 0;

        if (kerf_value_bytes(v, &bytes))
            sum += v->dtype == KERF_F32 ? bytes / 4 : bytes;
    }
    return sum;
}

/* What is done to each element alone: the engine does it along with the
 * convolution before. */
static bool
is_light(const kerf_graph *g, const kerf_cut *cut)
{
    return cut->after != KERF_GRAPH_NONE &&
           kerf_op_find(g->node[cut->after].op)->cost == KERF_COST_OUT;
}

/* From the first cut of its size to behind the normalisation and activation
 * that follow: as many bytes, and what the engine joins stays together. */
static size_t
settle(const kerf_cut_list *list, size_t i)
{
    const kerf_cut *all = list->cuts.cut;

    while (i + 1 < list->cuts.count && is_of_use(&all[i + 1]) &&
           has_work(&all[i + 1]) && all[i + 1].bytes == all[i].bytes &&
           is_light(list->model->graph, &all[i + 1]))
        i++;
    return i;
}

static void
pick(kerf_cut_list *list, size_t i)
{
    const kerf_cut *all = list->cuts.cut;
    uint64_t whole = list->model->input_bytes;
    size_t none = list->cuts.count;
    size_t *picked = list->pick;

    if (!is_of_use(&all[i]) || !has_work(&all[i]))
        return;
    if (picked[KERF_PICK_LESS] == none && all[i].bytes < whole)
        picked[KERF_PICK_LESS] = i;
    if (picked[KERF_PICK_LESS_Q8] == none &&
        kerf_cut_q8_bytes(list->model->graph, &all[i]) < whole)
        picked[KERF_PICK_LESS_Q8] = i;
    if (picked[KERF_PICK_FEWEST] == none ||
        all[i].bytes < all[picked[KERF_PICK_FEWEST]].bytes)
        picked[KERF_PICK_FEWEST] = i;
}

kerf_err
kerf_cut_list_make(kerf_cut_list *list, const kerf_cut_model *model,
                   kerf_detail *why)
{
    uint64_t least = UINT64_MAX;
    kerf_err err;

    *list = (kerf_cut_list){.model = model};
    err = kerf_cuts_list(model->graph, &list->cuts, why);
    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < KERF_PICK_COUNT; i++)
        list->pick[i] = list->cuts.count;
    list->mark = calloc(list->cuts.count + 1, sizeof *list->mark);
    if (list->mark == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for %zu cuts",
                         list->cuts.count);
    for (size_t i = 0; i < list->cuts.count; i++) {
        const kerf_cut *cut = &list->cuts.cut[i];

        list->refused += cut->refused != NULL;
        if (!is_of_use(cut))
            continue;
        list->mark[i].is_below = cut->bytes < model->input_bytes;
        list->mark[i].is_smallest = i > 0 && cut->bytes < least;
        least = cut->bytes < least ? cut->bytes : least;
        pick(list, i);
    }
    for (size_t i = 0; i < KERF_PICK_COUNT; i++)
        list->pick[i] = settle(list, list->pick[i]);
    return KERF_OK;
}

void
kerf_cut_list_fini(kerf_cut_list *list)
{
    kerf_cuts_fini(&list->cuts);
    free(list->mark);
    *list = (kerf_cut_list){0};
}

bool
kerf_cut_is_repeated(const kerf_cut_list *list, kerf_cut_pick pick)
{
    for (int p = 0; p < (int)pick; p++) {
        if (list->pick[p] == list->pick[pick])
            return true;
    }
    return list->pick[pick] == list->cuts.count;
}

const char *
kerf_cut_after_op(const kerf_graph *g, const kerf_cut *cut)
{
    return cut->after == KERF_GRAPH_NONE ? "" : g->node[cut->after].op;
}

const char *
kerf_cut_after(const kerf_graph *g, const kerf_cut *cut)
{
    const kerf_node *node;

    if (cut->after == KERF_GRAPH_NONE)
        return "";
    node = &g->node[cut->after];
    /* Of several outputs the one that crosses; the first, when none does. */
    for (size_t i = 0; i < node->out_count; i++) {
        for (size_t k = 0; k < cut->count; k++) {
            if (node->out[i] == cut->value[k])
                return g->value[node->out[i]].name;
        }
    }
    for (size_t i = 0; i < node->out_count; i++) {
        if (node->out[i] != KERF_GRAPH_NONE)
            return g->value[node->out[i]].name;
    }
    return "";
}

static bool
is_plain(const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789._-/:@+";

    return name[0] != '\0' && name[0] != '-' &&
           name[strspn(name, plain)] == '\0';
}

char *
kerf_cut_at_text(char *out, size_t cap, const kerf_graph *g,
                 const kerf_cut *cut)
{
    size_t used = 0;
    bool by_name = cut->count > 0;

    out[0] = '\0';
    for (size_t i = 0; i < cut->count && by_name; i++) {
        const kerf_value *v = &g->value[cut->value[i]];

        by_name = is_plain(v->name) && !v->is_overwritten &&
                  used + strlen(v->name) < AT_COLUMNS && used + 2 < cap;
        if (by_name)
            used += (size_t)snprintf(out + used, cap - used, "%s%s",
                                     i == 0 ? "" : ",", v->name);
        by_name = by_name && used < cap;
    }
    if (!by_name)
        (void)snprintf(out, cap, "%u", cut->index);
    return out;
}

char *
kerf_cut_shape_text(char out[KERF_SHAPE_TEXT], const kerf_value *v)
{
    const kerf_shape *s = v->is_fixed ? &v->fixed : &v->shape;
    size_t used = 0;

    (void)snprintf(out, KERF_SHAPE_TEXT, "%s",
                   v->is_fixed || v->is_shaped ? "scalar" : "?");
    for (uint32_t d = 0; (v->is_fixed || v->is_shaped) && d < s->rank; d++) {
        const char *sign = d == 0 ? "" : "x";

        used += (size_t)(s->dims[d] < 0
                             ? snprintf(out + used, KERF_SHAPE_TEXT - used,
                                        "%s?", sign)
                             : snprintf(out + used, KERF_SHAPE_TEXT - used,
                                        "%s%lld", sign, (long long)s->dims[d]));
    }
    return out;
}

/* Three digits at most, and a unit of thousands. */
static void
write_short(char out[16], uint64_t n, const char *const *unit, size_t units)
{
    double v = (double)n;
    size_t u = 0;

    while (v >= 999.5 && u + 1 < units) {
        v /= 1000.0;
        u++;
    }
    (void)snprintf(out, 16, "%.*f%s",
                   u == 0 || v >= 99.95 ? 0
                   : v < 9.995          ? 2
                                        : 1,
                   v, unit[u]);
}

char *
kerf_cut_count_text(char out[16], uint64_t n)
{
    static const char *const unit[] = {"", "k", "M", "G", "T"};

    write_short(out, n, unit, sizeof unit / sizeof *unit);
    return out;
}

char *
kerf_cut_bytes_text(char out[16], uint64_t bytes)
{
    static const char *const unit[] = {" B", " KB", " MB", " GB", " TB"};

    write_short(out, bytes, unit, sizeof unit / sizeof *unit);
    return out;
}

/* [1, 64, 56, 56], null where free; null when nothing is known. */
static json_t *
shape_json(const kerf_value *v)
{
    const kerf_shape *s = v->is_fixed ? &v->fixed : &v->shape;
    json_t *list;

    if (!v->is_fixed && !v->is_shaped)
        return json_null();
    list = json_array();
    for (uint32_t d = 0; d < s->rank; d++)
        (void)json_array_append_new(
            list, s->dims[d] < 0 ? json_null() : json_integer(s->dims[d]));
    return list;
}

json_t *
kerf_cut_tensors_json(const kerf_graph *g, const uint32_t *value, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        const kerf_value *v = &g->value[value[i]];
        bool typed = v->type == KERF_VALUE_TENSOR;
        size_t bytes = 0;
        bool sized = typed && v->is_fixed &&
                     kerf_shape_bytes(&v->fixed, v->dtype, &bytes) == KERF_OK;

        (void)json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o, s:o}", "name", kerf_json_text(v->name),
                      "dtype",
                      typed ? json_string(kerf_dtype_name(v->dtype))
                            : json_null(),
                      "shape", shape_json(v), "bytes",
                      sized ? json_integer((json_int_t)bytes) : json_null()));
    }
    return list;
}

static json_t *
number(uint64_t n, bool known)
{
    return known ? json_integer((json_int_t)n) : json_null();
}

static json_t *
text_or_null(const char *text)
{
    return text[0] == '\0' ? json_null() : kerf_json_text(text);
}

json_t *
kerf_cut_json(const kerf_cut_list *list, size_t i)
{
    const kerf_graph *g = list->model->graph;
    const kerf_cut *c = &list->cuts.cut[i];
    json_t *o = json_pack(
        "{s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:b, s:b}",
        "cut", (json_int_t)i, "after", text_or_null(kerf_cut_after(g, c)),
        "after_op", text_or_null(kerf_cut_after_op(g, c)), "tensors",
        kerf_cut_tensors_json(g, c->value, c->count), "bytes",
        number(c->bytes, c->bytes_known), "head_params",
        (json_int_t)c->cost_head.params, "tail_params",
        (json_int_t)c->cost_tail.params, "head_param_bytes",
        (json_int_t)c->cost_head.param_bytes, "tail_param_bytes",
        (json_int_t)c->cost_tail.param_bytes, "head_flops",
        number(c->cost_head.flops, c->flops_known), "tail_flops",
        number(c->cost_tail.flops, c->flops_known), "below_input",
        list->mark[i].is_below, "smallest", list->mark[i].is_smallest);

    if (c->refused != NULL)
        (void)json_object_set_new(o, "refused", kerf_json_text(c->refused));
    return o;
}

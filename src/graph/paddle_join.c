/*
 * Joins two programs: the ops of the head, then those of the tail. The head's
 * names stay. One of the tail's that the head has too stays if both mean the
 * same: what crosses under one name, an equal parameter, what equal ops compute
 * from equal parameters. Any other gets a new name.
 *
 * The tail's ops run behind all of the head's. So a name that blocks of it use,
 * which is not changed in there, may stay if nothing of the head is read under
 * it and it is declared alike.
 */
#include "graph/paddle_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a name of the tail is to the joined program. */
enum role {
    ROLE_NONE = 0, /* not needed */
    ROLE_NODE,     /* some op of it gives it */
    ROLE_BLANK,
    ROLE_PARAM,
    ROLE_EXTRA, /* an input of the whole */
    ROLE_BOUND, /* an output of the head */
};

struct name {
    enum role role;
    bool is_inner;  /* blocks use it: cannot be changed */
    bool is_output; /* of the tail: is changed only if it must */
    bool is_shared; /* it is the head's, and declared there */
    uint32_t port;  /* ROLE_BOUND: the head's output */
    char *new;      /* owned; NULL: it stays */
};

struct join {
    const kerf_graph *head, *tail;
    kerf_pd_plan h, t;
    struct name *name; /* [tail->value_count]: by the first value of a name */
    bool *head_has;    /* [head->value_count]: that name, by its first value */
    bool *has_blocks;  /* of the tail's ops */
    bool *is_dropped;  /* [tail->node_count]: the head has that op */
    kerf_detail *why;
};

static kerf_err plan_whole(kerf_pd_plan *plan, kerf_part *part,
                           const kerf_graph *g, kerf_detail *why);
static void find_head_names(struct join *j);
static void find_roles(struct join *j);
static kerf_err settle_names(struct join *j);
static kerf_err put_main(struct join *j, kerf_rope *out);
static kerf_err put_weights(struct join *j, kerf_rope *out);
static const char *rename_tail(const void *ctx, const char *name);

static kerf_err
fail_tensor(const struct join *j, uint32_t value, const char *what)
{
    kerf_pd_text text = {j->tail->value[value].name,
                         strlen(j->tail->value[value].name)};
    char safe[KERF_PD_SAFE];

    return kerf_fail(j->why, KERF_EMISMATCH, "'%s' of the tail %s",
                     kerf_pd_text_safe(safe, &text), what);
}

static kerf_err
make_join(struct join *j, kerf_part parts[2])
{
    kerf_err err = plan_whole(&j->h, &parts[0], j->head, j->why);

    if (err == KERF_OK)
        err = plan_whole(&j->t, &parts[1], j->tail, j->why);
    if (err != KERF_OK)
        return err;
    if (j->head->version != j->tail->version)
        return kerf_fail(j->why, KERF_EMISMATCH,
                         "head and tail were written by different versions of "
                         "Paddle: %lld and %lld",
                         (long long)j->head->version,
                         (long long)j->tail->version);
    j->name = calloc(j->tail->value_count + 1, sizeof *j->name);
    j->is_dropped = calloc(j->tail->node_count + 1, sizeof *j->is_dropped);
    j->head_has = calloc(j->head->value_count + 1, sizeof *j->head_has);
    j->has_blocks = calloc(j->t.p->program.op_count + 1, sizeof *j->has_blocks);
    if (j->name == NULL || j->is_dropped == NULL || j->head_has == NULL ||
        j->has_blocks == NULL)
        return kerf_fail(j->why, KERF_ENOMEM, "out of memory");
    for (size_t b = 1; b < j->t.p->program.block_count; b++) {
        if (j->t.block[b] == KERF_GRAPH_NONE)
            continue;
        j->t.block[b] += j->h.blocks - 1;
        j->has_blocks[j->t.p->runner[b]] = true;
    }
    j->t.edit = (kerf_pd_edit){.block = j->t.block,
                               .block_count = j->t.p->program.block_count,
                               .rename = rename_tail,
                               .ctx = j};
    find_head_names(j);
    find_roles(j);
    return settle_names(j);
}

kerf_err
kerf_paddle_join(const kerf_graph *head, const kerf_graph *tail,
                 kerf_rope *graph, kerf_rope *weights, kerf_detail *why)
{
    struct join j = {.head = head, .tail = tail, .why = why};
    kerf_rope blocks = {0}, main = {0}, program = {0}, params = {0};
    kerf_part parts[2] = {0};
    kerf_err err = make_join(&j, parts);

    if (err != KERF_OK)
        goto out;
    err = put_main(&j, &main);
    kerf_wire_put_rope(&blocks, KERF_PD_PROGRAM_BLOCKS, &main);
    if (err == KERF_OK)
        err = kerf_pd_put_inner(&blocks, &j.h);
    if (err == KERF_OK)
        err = kerf_pd_put_inner(&blocks, &j.t);
    kerf_pd_put_program(&program, j.h.p, &blocks);
    if (err == KERF_OK)
        err = put_weights(&j, &params);
    if (err != KERF_OK)
        err =
            kerf_fail(why, err, "joining the programs: %s", kerf_err_text(err));
    else
        err = kerf_pd_hand_over(&program, &params, graph, weights, why);
out:
    kerf_rope_fini(&main);
    kerf_rope_fini(&blocks);
    kerf_rope_fini(&program);
    kerf_rope_fini(&params);
    kerf_pd_plan_fini(&j.h);
    kerf_pd_plan_fini(&j.t);
    kerf_part_fini(&parts[0]);
    kerf_part_fini(&parts[1]);
    for (size_t i = 0; j.name != NULL && i < tail->value_count; i++)
        free(j.name[i].new);
    free(j.name);
    free(j.is_dropped);
    free(j.head_has);
    free(j.has_blocks);
    return err;
}

static kerf_err
plan_whole(kerf_pd_plan *plan, kerf_part *part, const kerf_graph *g,
           kerf_detail *why)
{
    kerf_err err = kerf_part_whole(g, part);

    if (err != KERF_OK)
        return kerf_fail(why, err, "%s", kerf_err_text(err));
    return kerf_pd_plan_make(plan, g, part, why);
}

/* What the head takes into the joined program. */
static void
find_head_names(struct join *j)
{
    const kerf_graph *h = j->head;

    for (size_t v = 0; v < h->value_count; v++) {
        if (j->h.need_value[v])
            j->head_has[h->own->first[v]] = true;
    }
    for (size_t i = 0; i < h->input_count; i++)
        j->head_has[h->own->first[h->input[i]]] = true;
    for (size_t i = 0; i < h->node_count; i++) {
        const kerf_node *n = &h->node[i];

        for (size_t k = 0; k < n->out_count && j->h.need_node[i]; k++) {
            if (n->out[k] != KERF_GRAPH_NONE)
                j->head_has[h->own->first[n->out[k]]] = true;
        }
    }
}

static struct name *
name_of(struct join *j, uint32_t value)
{
    return &j->name[j->tail->own->first[value]];
}

static void
note_node(struct join *j, const kerf_node *n)
{
    for (size_t k = 0; k < n->in_count + n->out_count; k++) {
        uint32_t v = n->in[k]; /* out[] stands behind in[] */
        struct name *name;

        if (v == KERF_GRAPH_NONE)
            continue;
        name = name_of(j, v);
        name->is_inner |= j->has_blocks[n->origin];
        if (name->role == ROLE_NONE)
            name->role = ROLE_NODE;
    }
}

/* A name's first value says what it is: ports and parameters come first. */
static void
find_roles(struct join *j)
{
    const kerf_graph *t = j->tail;

    for (uint32_t i = 0; i < t->input_count; i++) {
        struct name *name = name_of(j, t->input[i]);
        bool is_bound = i < j->head->output_count;

        name->role = is_bound ? ROLE_BOUND : ROLE_EXTRA;
        if (is_bound)
            name->port = j->head->output[i];
    }
    for (uint32_t v = 0; v < t->value_count; v++) {
        const kerf_value *value = &t->value[v];

        if (value->kind == KERF_VALUE_PARAM && j->t.need_value[v])
            name_of(j, v)->role =
                value->type == KERF_VALUE_TENSOR ? ROLE_PARAM : ROLE_BLANK;
    }
    for (size_t i = 0; i < t->node_count; i++) {
        if (j->t.need_node[i])
            note_node(j, &t->node[i]);
    }
    for (size_t i = 0; i < t->output_count; i++)
        name_of(j, t->output[i])->is_output = true;
}

/* A name that neither program has. */
static kerf_err
make_new(struct join *j, uint32_t value)
{
    const char *old = j->tail->value[value].name;
    size_t room = strlen(old) + 32;
    char *new = malloc(room);

    if (new == NULL)
        return kerf_fail(j->why, KERF_ENOMEM, "out of memory");
    for (unsigned n = 1;; n++) {
        if (n == 1)
            (void)snprintf(new, room, "%s.tail", old);
        else
            (void)snprintf(new, room, "%s.tail%u", old, n);
        if (kerf_graph_find(j->head, new) == KERF_GRAPH_NONE &&
            kerf_graph_find(j->tail, new) == KERF_GRAPH_NONE)
            break;
    }
    j->name[value].new = new;
    return KERF_OK;
}

static const kerf_pd_record *
record_of(const kerf_graph *g, uint32_t value)
{
    const kerf_paddle *p = g->own->state;
    kerf_pd_text text = {g->value[value].name, strlen(g->value[value].name)};
    uint32_t param = kerf_paddle_param(p, &text);

    return param == KERF_GRAPH_NONE ? NULL : &p->record[param];
}

static bool
is_same_param(const struct join *j, uint32_t head, uint32_t tail)
{
    const kerf_pd_record *a = record_of(j->head, head);
    const kerf_pd_record *b = record_of(j->tail, tail);

    return a != NULL && b != NULL && !j->head->value[head].is_overwritten &&
           !j->tail->value[tail].is_overwritten && a->len == b->len &&
           memcmp(a->start, b->start, a->len) == 0;
}

static bool
is_declared_alike(const struct join *j, uint32_t head, uint32_t tail)
{
    uint32_t a = j->head->value[head].origin, b = j->tail->value[tail].origin;
    const kerf_pd_var *x, *y;

    if (a == KERF_GRAPH_NONE || b == KERF_GRAPH_NONE)
        return false;
    x = &j->h.p->program.var[a];
    y = &j->t.p->program.var[b];
    return x->whole_len == y->whole_len &&
           memcmp(x->whole, y->whole, x->whole_len) == 0;
}

/* The name is in both programs, and not for the same thing. */
static kerf_err
part_names(struct join *j, uint32_t value, uint32_t head)
{
    struct name *name = &j->name[value];
    const kerf_value *given = &j->tail->value[value];

    if ((name->is_inner || name->is_output) && name->role == ROLE_NODE &&
        given->kind == KERF_VALUE_NODE &&
        j->head->value[head].kind != KERF_VALUE_PARAM &&
        is_declared_alike(j, head, value))
        return KERF_OK;
    if (name->is_inner)
        return fail_tensor(j, value,
                           "is used in a loop or branch, and the head has "
                           "another tensor of that name: rename it");
    return make_new(j, value);
}

/* Whether the name of the tail is the head's, stays, or becomes another. */
static kerf_err
settle_name(struct join *j, uint32_t value)
{
    struct name *name = &j->name[value];
    const char *text = j->tail->value[value].name;
    uint32_t head = kerf_graph_find(j->head, text);
    const kerf_value *had;

    if (head == KERF_GRAPH_NONE || !j->head_has[j->head->own->first[head]])
        return KERF_OK;
    had = &j->head->value[head];
    switch (name->role) {
    case ROLE_NONE:
        return KERF_OK;
    case ROLE_BOUND:
        if (strcmp(j->head->value[name->port].name, text) == 0) {
            name->is_shared = true;
            return KERF_OK;
        }
        break;
    case ROLE_PARAM:
        if (is_same_param(j, head, value)) {
            name->is_shared = true;
            return KERF_OK;
        }
        break;
    case ROLE_EXTRA:
        if (had->kind != KERF_VALUE_INPUT || had->is_overwritten ||
            !is_declared_alike(j, head, value))
            return fail_tensor(j, value,
                               "is an input that the head does not give, and "
                               "the head has another tensor of that name");
        name->is_shared = true;
        return KERF_OK;
    case ROLE_BLANK:
    case ROLE_NODE:
        break;
    }
    return part_names(j, value, head);
}

/* The head has the very same op, on the same things. */
static bool
is_in_head(const struct join *j, const kerf_node *n)
{
    const kerf_pd_op *op = &j->t.p->program.op[n->origin];
    const kerf_pd_op *twin;
    uint32_t node = KERF_GRAPH_NONE;

    if (!n->is_const)
        return false;
    for (size_t k = 0; k < n->out_count; k++) {
        uint32_t v =
            n->out[k] == KERF_GRAPH_NONE
                ? KERF_GRAPH_NONE
                : kerf_graph_find(j->head, j->tail->value[n->out[k]].name);

        if (v == KERF_GRAPH_NONE)
            return false;
        node = j->head->value[v].node;
        if (node == KERF_GRAPH_NONE || !j->head->node[node].is_const ||
            !j->h.need_node[node])
            return false;
    }
    for (size_t k = 0; k < n->in_count; k++) {
        if (n->in[k] != KERF_GRAPH_NONE &&
            !j->name[j->tail->own->first[n->in[k]]].is_shared)
            return false;
    }
    if (node == KERF_GRAPH_NONE)
        return false;
    twin = &j->h.p->program.op[j->head->node[node].origin];
    return twin->len == op->len && memcmp(twin->bytes, op->bytes, op->len) == 0;
}

static kerf_err
settle_names(struct join *j)
{
    const kerf_graph *t = j->tail;
    kerf_err err = KERF_OK;

    for (uint32_t v = 0; v < t->value_count && err == KERF_OK; v++) {
        if (t->own->first[v] == v && j->name[v].role != ROLE_NODE)
            err = settle_name(j, v);
    }
    for (size_t i = 0; i < t->node_count && err == KERF_OK; i++) {
        const kerf_node *n = &t->node[i];

        if (!j->t.need_node[i] || !is_in_head(j, n))
            continue;
        j->is_dropped[i] = true;
        for (size_t k = 0; k < n->out_count; k++) {
            if (n->out[k] != KERF_GRAPH_NONE)
                name_of(j, n->out[k])->is_shared = true;
        }
    }
    for (uint32_t v = 0; v < t->value_count && err == KERF_OK; v++) {
        if (t->own->first[v] == v && j->name[v].role == ROLE_NODE &&
            !j->name[v].is_shared)
            err = settle_name(j, v);
    }
    return err;
}

static const char *
rename_tail(const void *ctx, const char *name)
{
    const struct join *j = ctx;
    uint32_t v = kerf_graph_find(j->tail, name);

    return v == KERF_GRAPH_NONE ? NULL : j->name[j->tail->own->first[v]].new;
}

/* Variables: the head's, then the tail's that it does not have. */
static kerf_err
put_vars(const struct join *j, kerf_rope *out)
{
    const kerf_pdmodel *h = &j->h.p->program, *t = &j->t.p->program;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < h->block[0].var_count && err == KERF_OK; i++) {
        if (j->h.var[i])
            err = kerf_pd_put_var(out, &h->var[i], &j->h.edit);
    }
    for (size_t i = 0; i < t->block[0].var_count && err == KERF_OK; i++) {
        uint32_t at = kerf_paddle_var(j->h.p, 0, &t->var[i].name);
        char *name;
        bool is_new;

        if (!j->t.var[i])
            continue;
        name = strndup(t->var[i].name.at, t->var[i].name.len);
        if (name == NULL)
            return KERF_ENOMEM;
        is_new = rename_tail(j, name) != NULL;
        free(name);
        if (is_new || at == KERF_GRAPH_NONE || !j->h.var[at])
            err = kerf_pd_put_var(out, &t->var[i], &j->t.edit);
    }
    if (j->h.feed == NULL && j->t.feed == NULL)
        kerf_pd_put_port_var(out, true);
    return err;
}

/* Inputs: the head's, then the tail's that nobody gives. */
static kerf_err
put_feeds(struct join *j, kerf_rope *out)
{
    const kerf_graph *h = j->head, *t = j->tail;
    const char *feed = j->h.feed != NULL   ? j->h.feed
                       : j->t.feed != NULL ? j->t.feed
                                           : "feed";
    size_t extra = 0;
    kerf_err err = KERF_OK;

    for (size_t i = h->output_count; i < t->input_count; i++)
        extra += !name_of(j, t->input[i])->is_shared;
    for (size_t i = 0; i < h->input_count && err == KERF_OK; i++) {
        if (extra == 0)
            err = kerf_pd_put_op(out, &j->h.p->program.op[j->h.p->feed[i]],
                                 &j->h.edit);
        else
            kerf_pd_put_port(out, "feed", feed, h->value[h->input[i]].name,
                             (int)i);
    }
    extra = h->input_count;
    for (size_t i = h->output_count; i < t->input_count; i++) {
        if (!name_of(j, t->input[i])->is_shared)
            kerf_pd_put_port(out, "feed", feed, t->value[t->input[i]].name,
                             (int)extra++);
    }
    return err;
}

static kerf_err
put_ops(kerf_rope *out, const kerf_pd_plan *plan, const bool *is_dropped)
{
    const kerf_graph *g = plan->g;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < g->node_count && err == KERF_OK; i++) {
        uint32_t at = g->own->file_order[i];

        if (plan->need_node[at] && (is_dropped == NULL || !is_dropped[at]))
            err = kerf_pd_put_op(out, &plan->p->program.op[g->node[at].origin],
                                 &plan->edit);
    }
    return err;
}

static kerf_err
put_main(struct join *j, kerf_rope *out)
{
    const kerf_graph *h = j->head, *t = j->tail;
    kerf_err err;

    kerf_pd_put_rest(out, &j->h.p->program);
    err = put_vars(j, out);
    if (err == KERF_OK)
        err = put_feeds(j, out);
    if (err == KERF_OK)
        err = put_ops(out, &j->h, NULL);
    for (size_t i = 0; i < h->output_count && err == KERF_OK; i++) {
        const char *from = h->value[h->output[i]].name;
        const char *to = t->value[t->input[i]].name;
        const char *new = rename_tail(j, to);

        to = new != NULL ? new : to;
        if (strcmp(from, to) != 0)
            kerf_pd_put_port(out, "assign", from, to, -1);
    }
    if (err == KERF_OK)
        err = put_ops(out, &j->t, j->is_dropped);
    for (size_t i = 0; i < t->output_count && err == KERF_OK; i++)
        err = kerf_pd_put_op(out, &j->t.p->program.op[j->t.p->fetch[i]],
                             &j->t.edit);
    return err;
}

struct weight {
    const char *name;
    const kerf_pd_record *record;
};

static int
compare_weights(const void *a, const void *b)
{
    return strcmp(((const struct weight *)a)->name,
                  ((const struct weight *)b)->name);
}

static void
add_weights(const struct join *j, const kerf_pd_plan *plan, struct weight *list,
            size_t *count)
{
    const kerf_graph *g = plan->g;

    for (size_t i = 0; i < plan->p->program.param_count; i++) {
        const kerf_pd_text *name = &plan->p->program.param[i].name;
        uint32_t v = kerf_graph_lookup(g, name->at, name->len);
        const char *new = NULL;

        if (!plan->param[i])
            continue;
        if (g == j->tail) {
            const struct name *n = &j->name[g->own->first[v]];

            if (n->is_shared)
                continue;
            new = n->new;
        }
        list[(*count)++] = (struct weight){new != NULL ? new : g->value[v].name,
                                           &plan->p->record[i]};
    }
}

static kerf_err
put_weights(struct join *j, kerf_rope *out)
{
    size_t most = j->h.p->program.param_count + j->t.p->program.param_count + 1;
    struct weight *list = calloc(most, sizeof *list);
    size_t count = 0;

    if (list == NULL)
        return KERF_ENOMEM;
    add_weights(j, &j->h, list, &count);
    add_weights(j, &j->t, list, &count);
    qsort(list, count, sizeof *list, compare_weights);
    for (size_t i = 0; i < count; i++)
        kerf_rope_view(out, list[i].record->start, list[i].record->len);
    free(list);
    return KERF_OK;
}

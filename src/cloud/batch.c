#include "cloud/batch.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define RUNS 5              /* of which the quickest counts */
#define BUDGET_NS 200000000 /* for one block's runs, but for two of them */
#define PAYS 0.95           /* of the smaller block's cost per request */
#define SLOW_NS 100000000   /* of one run: a trial would take seconds */
#define SEED 1

/* Samples of this port that lie one behind the other are a batch, and each
 * begins at a multiple of align. */
static bool
may_stack(const kerf_port *port, size_t align)
{
    size_t bytes = 0;

    return port->shape.rank > 0 && port->shape.dims[0] == 1 &&
           kerf_shape_is_static(&port->shape) &&
           kerf_shape_bytes(&port->shape, port->dtype, &bytes) == KERF_OK &&
           bytes > 0 && bytes % align == 0 &&
           bytes <= KERF_TENSOR_BYTES_MAX / KERF_BATCH_MOST;
}

/* The engine reads a sample by itself, too; answers are only sent. */
static bool
can_batch(const kerf_net *tail)
{
    bool can = true;

    for (size_t i = 0; i < kerf_net_in_count(tail); i++)
        can &= may_stack(kerf_net_in(tail, i), KERF_TENSOR_ALIGN);
    for (size_t i = 0; i < kerf_net_out_count(tail); i++)
        can &= may_stack(kerf_net_out(tail, i), 1);
    return can;
}

/* That many times the tail's port. */
static bool
is_stacked(const kerf_port *many, const kerf_port *one, size_t size)
{
    kerf_shape shape = one->shape;

    shape.dims[0] = (int64_t)size;
    return many->dtype == one->dtype && kerf_shape_equal(&many->shape, &shape);
}

static kerf_err
load_net(kerf_served *s, kerf_engine *engine, const kerf_model_bytes *m,
         size_t size, kerf_net **out, kerf_detail *why)
{
    kerf_net *tail = s->tail;
    kerf_shape shapes[KERF_PORTS_MAX];
    const kerf_load how = {.shapes = shapes,
                           .shape_count = kerf_net_in_count(tail),
                           .any_batch = true};
    kerf_net *net = NULL;
    kerf_err err;
    bool fits;

    for (size_t i = 0; i < how.shape_count; i++) {
        shapes[i] = kerf_net_in(tail, i)->shape;
        shapes[i].dims[0] = (int64_t)size;
    }
    err = kerf_engine_load(engine, &net, m, &how, why);
    if (err != KERF_OK)
        return err;
    fits = kerf_net_in_count(net) == kerf_net_in_count(tail) &&
           kerf_net_out_count(net) == kerf_net_out_count(tail);
    for (size_t i = 0; fits && i < kerf_net_in_count(tail); i++)
        fits = is_stacked(kerf_net_in(net, i), kerf_net_in(tail, i), size);
    for (size_t i = 0; fits && i < kerf_net_out_count(tail); i++)
        fits = is_stacked(kerf_net_out(net, i), kerf_net_out(tail, i), size);
    if (!fits) {
        kerf_net_free(net);
        return kerf_fail(why, KERF_EMISMATCH,
                         "an output does not grow with the batch");
    }
    *out = net;
    return KERF_OK;
}

/* Runs the slot's block: worker 0's, `runs` times while the budget lasts.
 * *best_ns: the quickest but the first, which warms up. */
static kerf_err
run_block(kerf_slot *slot, size_t level, int runs, uint64_t *best_ns,
          kerf_detail *why)
{
    kerf_request *request = NULL;
    uint64_t spent_ns = 0;
    kerf_err err = kerf_slot_request(slot, level, 0, &request, why);

    *best_ns = UINT64_MAX;
    for (int i = 0; err == KERF_OK && i < runs; i++) {
        uint64_t start_ns = kerf_now_ns();
        uint64_t ns;

        err = kerf_request_run(request, why);
        ns = kerf_now_ns() - start_ns;
        spent_ns += ns;
        if (i > 0 && ns < *best_ns)
            *best_ns = ns;
        if (i > 0 && spent_ns > BUDGET_NS)
            break;
    }
    return err;
}

/* Whether the last run of the block gave each slot its own answer. */
static bool
is_equal(kerf_slot **block, size_t level)
{
    kerf_slot_share(block[0], level);
    for (size_t k = 0; k < (size_t)1 << level; k++) {
        const kerf_slot *slot = block[k];

        for (size_t i = 0; i < kerf_net_out_count(slot->served->tail); i++) {
            if (memcmp(slot->answer[i].data, slot->out[i].data,
                       slot->out[i].bytes) != 0)
                return false;
        }
    }
    return true;
}

/* A trial: a whole group of slots, and what their answers are one by one. */
struct trial {
    kerf_served *served;
    kerf_engine *engine;
    const kerf_model_bytes *m;
    bool forced;
    kerf_slot *slot[KERF_BATCH_MOST];
    size_t size;
    uint64_t per_ns; /* cost per request of the largest block so far */
};

/* Fills an input of slot k. Neighbours are far apart in size: a tail that takes
 * the largest of all samples, say to quantise by it, gives itself away. */
static void
fill(kerf_tensor *t, size_t k, uint64_t *seed)
{
    static const float scale[KERF_BATCH_MOST] = {
        1.0f, 0x1p-10f, 0.5f, 0.0f, 0x1p-5f, 16.0f, 0x1p-3f, 0x1p-14f};
    float *x = t->data;

    kerf_tensor_fill_seeded(t, seed);
    if (t->dtype != KERF_F32 && k % 2 == 1)
        memset(t->data, 0, t->bytes);
    for (size_t i = 0; t->dtype == KERF_F32 && i < t->bytes / sizeof *x; i++)
        x[i] *= scale[k];
}

/* Every slot's own answer, in slot->out, on inputs that differ. */
static kerf_err
run_singly(struct trial *t, kerf_detail *why)
{
    uint64_t seed = SEED;
    kerf_err err = KERF_OK;

    for (size_t k = 0; err == KERF_OK && k < t->size; k++) {
        kerf_slot *slot = t->slot[k];
        uint64_t ns = 0;

        for (size_t i = 0; i < kerf_net_in_count(t->served->tail); i++)
            fill(&slot->in[i], k, &seed);
        err = run_block(slot, 0, k == 0 ? RUNS : 1, &ns, why);
        if (k == 0)
            t->per_ns = ns;
        if (!t->forced && t->per_ns > SLOW_NS && err == KERF_OK)
            return kerf_fail(why, KERF_ENOTSUP, "one run takes %.0f ms",
                             (double)t->per_ns / 1e6);
    }
    return err;
}

static kerf_err
try_level(struct trial *t, size_t level, bool *pays, kerf_detail *why)
{
    size_t size = (size_t)1 << level;
    uint64_t first_ns = 0;
    kerf_err err = KERF_OK;

    for (size_t k = 0; err == KERF_OK && k < t->size; k += size) {
        uint64_t ns = 0;

        err = run_block(t->slot[k], level, k == 0 ? RUNS : 1, &ns, why);
        if (k == 0)
            first_ns = ns / size;
        if (err == KERF_OK && !is_equal(&t->slot[k], level))
            err =
                kerf_fail(why, KERF_EMISMATCH, "other answers than one by one");
    }
    if (err != KERF_OK)
        return err;
    *pays = t->forced || (double)first_ns <= PAYS * (double)t->per_ns;
    kerf_log(KERF_LOG_INFO, "cloud.batch",
             "model=%s size=%zu us_per_request=%.1f before=%.1f used=%d",
             t->served->manifest.name, size, (double)first_ns / 1e3,
             (double)t->per_ns / 1e3, *pays);
    t->per_ns = first_ns;
    return KERF_OK;
}

/* Level by level, each loaded for worker 0. *levels: how many are worth it. */
static kerf_err
try_levels(struct trial *t, size_t *levels, kerf_detail *why)
{
    kerf_slots *slots = &t->served->slots;
    bool pays = true;
    kerf_err err = KERF_OK;

    for (size_t level = 1; level < slots->levels; level++) {
        err = load_net(t->served, t->engine, t->m, (size_t)1 << level,
                       &slots->nets[level][0], why);
        if (err == KERF_OK && level == 1)
            err = run_singly(t, why);
        if (err == KERF_OK)
            err = try_level(t, level, &pays, why);
        if (err != KERF_OK || !pays)
            return err;
        *levels = level + 1;
    }
    return KERF_OK;
}

static kerf_err
take_group(struct trial *t)
{
    kerf_err err = KERF_OK;

    for (size_t k = 0; k < t->size; k++) {
        t->slot[k] = kerf_slot_take(t->served, NULL); /* in order */
        if (t->slot[k] == NULL)
            err = KERF_ENOMEM;
    }
    return err;
}

static void
give_group(struct trial *t)
{
    for (size_t k = 0; k < t->size; k++) {
        if (t->slot[k] != NULL)
            kerf_slot_give(t->slot[k]);
    }
    kerf_slots_clear(&t->served->slots);
}

static void
drop_levels(kerf_slots *slots, size_t levels)
{
    for (size_t level = levels; level < KERF_BATCH_LEVELS; level++) {
        if (slots->nets[level] != NULL)
            kerf_net_free(slots->nets[level][0]);
        free(slots->nets[level]);
        slots->nets[level] = NULL;
    }
    slots->levels = levels;
}

/* What cannot be batched, whatever the reason, runs one by one. */
static size_t
count_levels(struct trial *t)
{
    kerf_detail why = {{0}};
    size_t levels = 1;
    kerf_err err = take_group(t);

    if (err == KERF_OK)
        err = try_levels(t, &levels, &why);
    give_group(t);
    if (err != KERF_OK)
        kerf_log(KERF_LOG_INFO, "cloud.no_batch", "model=%s why=%s",
                 t->served->manifest.name,
                 KERF_Q(why.text[0] != '\0' ? why.text : kerf_err_text(err)));
    return levels;
}

kerf_err
kerf_batch_load(kerf_served *s, kerf_engine *engine, const kerf_model_bytes *m,
                size_t most, kerf_detail *why)
{
    kerf_slots *slots = &s->slots;
    struct trial t = {
        .served = s, .engine = engine, .m = m, .forced = most != 0};
    size_t slots_most = slots->most;
    size_t levels = 1;
    kerf_err err = KERF_OK;

    while (levels < KERF_BATCH_LEVELS &&
           (size_t)1 << levels <= (most == 0 ? KERF_BATCH_MOST : most))
        levels++;
    if (levels == 1 || !can_batch(s->tail))
        return KERF_OK;
    for (size_t level = 1; err == KERF_OK && level < levels; level++) {
        slots->nets[level] = calloc(slots->workers, sizeof(kerf_net *));
        if (slots->nets[level] == NULL)
            err = KERF_ENOMEM;
    }
    if (err == KERF_OK) {
        t.size = slots->most = (size_t)1 << (levels - 1);
        slots->levels = levels;
        levels = count_levels(&t);
        slots->most = slots_most;
    }
    drop_levels(slots, err == KERF_OK ? levels : 1);
    for (size_t level = 1; err == KERF_OK && level < slots->levels; level++) {
        for (size_t w = 1; err == KERF_OK && w < slots->workers; w++)
            err = load_net(s, engine, m, (size_t)1 << level,
                           &slots->nets[level][w], why);
    }
    return err;
}

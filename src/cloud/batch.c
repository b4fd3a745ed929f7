#include "cloud/batch.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 5            /* of all sizes in turns; the quickest run counts */
#define ROUNDS_LEAST 2      /* however long they take */
#define RUNS 3              /* of a size at a time */
#define QUICK_NS 10000000   /* of one run: more do not get quicker by it */
#define BUDGET_NS 500000000 /* for the others */
#define PAYS 0.95           /* of one by one, per request */
#define PAYS_MORE 0.97      /* of fewer: each waits for all of it */
#define SLOW_NS 100000000   /* of one run: a trial would take seconds */
#define SEED 1

/* A sample of this port is a tensor that can be one of several. */
static bool
may_stack(const kerf_port *port)
{
    size_t bytes = 0;

    return port->shape.rank > 0 && port->shape.dims[0] == 1 &&
           kerf_shape_is_static(&port->shape) &&
           kerf_shape_bytes(&port->shape, port->dtype, &bytes) == KERF_OK &&
           bytes > 0 && bytes <= KERF_TENSOR_BYTES_MAX / KERF_BATCH_MOST;
}

static bool
can_batch(const kerf_net *tail)
{
    bool can = true;

    for (size_t i = 0; i < kerf_net_in_count(tail); i++)
        can &= may_stack(kerf_net_in(tail, i));
    for (size_t i = 0; i < kerf_net_out_count(tail); i++)
        can &= may_stack(kerf_net_out(tail, i));
    return can;
}

/* A trial: as many slots as the largest batch has. */
struct trial {
    kerf_served *served;
    bool forced;
    size_t most;
    kerf_slot *slot[KERF_BATCH_MOST];
    kerf_tensor *own; /* [slot][output]: answers one by one */
    uint64_t best_ns[KERF_BATCH_MOST + 1]; /* a run, by size; 0: not timed */
};

static kerf_err
run_one(const struct trial *t, size_t k, kerf_detail *why)
{
    kerf_request *request = NULL;
    kerf_err err = kerf_slot_request(t->slot[k], 0, &request, why);

    return err == KERF_OK ? kerf_request_run(request, why) : err;
}

/* Times a run of this many, behind another of them: to go from one size to
 * another costs more, and workers stay with theirs (linger.h). */
static kerf_err
time_run(struct trial *t, size_t size, uint64_t *spent_ns, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (int i = 0; err == KERF_OK && i < RUNS; i++) {
        uint64_t start_ns = kerf_now_ns();
        uint64_t ns;

        err = size == 1 ? run_one(t, 0, why)
                        : kerf_bunch_run(&t->served->slots.bunch[0], t->slot,
                                         size, why);
        ns = kerf_now_ns() - start_ns;
        *spent_ns += ns;
        if (t->best_ns[size] == 0 || ns < t->best_ns[size])
            t->best_ns[size] = ns;
        if (ns > QUICK_NS)
            break;
    }
    return err;
}

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

/* Every slot's own answer, on inputs that differ. */
static kerf_err
run_singly(struct trial *t, kerf_detail *why)
{
    size_t ins = kerf_net_in_count(t->served->tail);
    size_t outs = kerf_net_out_count(t->served->tail);
    uint64_t seed = SEED;
    kerf_err err = KERF_OK;

    for (size_t k = 0; err == KERF_OK && k < t->most; k++) {
        kerf_slot *slot = t->slot[k];
        uint64_t start_ns = kerf_now_ns();

        for (size_t i = 0; i < ins; i++)
            fill(&slot->in[i], k, &seed);
        err = run_one(t, k, why);
        for (size_t i = 0; err == KERF_OK && i < outs; i++) {
            kerf_tensor *own = &t->own[k * outs + i];

            err =
                kerf_tensor_alloc(own, slot->out[i].dtype, &slot->out[i].shape);
            if (err == KERF_OK)
                memcpy(own->data, slot->out[i].data, own->bytes);
        }
        if (k > 0 && !t->forced && kerf_now_ns() - start_ns > SLOW_NS)
            return kerf_fail(why, KERF_ENOTSUP, "one run takes over %d ms",
                             SLOW_NS / 1000000);
    }
    return err;
}

/* Whether the last batch gave these slots what they get one by one. */
static bool
is_equal(const struct trial *t, size_t first, size_t size)
{
    size_t outs = kerf_net_out_count(t->served->tail);

    for (size_t k = first; k < first + size; k++) {
        for (size_t i = 0; i < outs; i++) {
            const kerf_tensor *own = &t->own[k * outs + i];

            if (memcmp(t->slot[k]->out[i].data, own->data, own->bytes) != 0)
                return false;
        }
    }
    return true;
}

static kerf_err
check_answers(struct trial *t, kerf_detail *why)
{
    kerf_bunch *bunch = &t->served->slots.bunch[0];
    kerf_err err = KERF_OK;

    for (size_t size = 2; err == KERF_OK && size <= t->most; size++) {
        size_t first = size % 2 == 0 ? 0 : t->most - size; /* not always 0 */

        err = kerf_bunch_run(bunch, t->slot + first, size, why);
        if (err == KERF_OK && !is_equal(t, first, size))
            err =
                kerf_fail(why, KERF_EMISMATCH, "other answers than one by one");
    }
    return err;
}

/* 1, 2, 4, ..., and the largest. */
static size_t
next_size(const struct trial *t, size_t size)
{
    return size < t->most && 2 * size > t->most ? t->most : 2 * size;
}

/* In turns, so that whatever else the machine does meets all sizes. */
static kerf_err
time_all(struct trial *t, kerf_detail *why)
{
    uint64_t spent_ns = 0;
    kerf_err err = KERF_OK;

    for (int i = 0; i < ROUNDS && (i < ROUNDS_LEAST || spent_ns < BUDGET_NS);
         i++) {
        for (size_t size = 1; err == KERF_OK && size <= t->most;
             size = next_size(t, size))
            err = time_run(t, size, &spent_ns, why);
    }
    return err;
}

static void
choose(const struct trial *t, size_t *most)
{
    double one_us = (double)t->best_ns[1] / 1e3;
    double so_far_us = 0;

    *most = 1;
    for (size_t size = next_size(t, 1); size <= t->most;
         size = next_size(t, size)) {
        double us = (double)t->best_ns[size] / 1e3 / (double)size;
        bool pays = t->forced ||
                    us <= (*most == 1 ? PAYS * one_us : PAYS_MORE * so_far_us);

        kerf_log(KERF_LOG_INFO, "cloud.batch",
                 "model=%s size=%zu us_per_request=%.1f alone=%.1f used=%d",
                 t->served->manifest.name, size, us, one_us, pays);
        if (!pays)
            continue;
        *most = size;
        so_far_us = us;
    }
}

static kerf_err
try_sizes(struct trial *t, size_t *most, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t k = 0; k < t->most; k++) {
        t->slot[k] = kerf_slot_take(t->served, NULL);
        if (t->slot[k] == NULL)
            err = KERF_ENOMEM;
    }
    t->own =
        calloc(t->most * kerf_net_out_count(t->served->tail), sizeof *t->own);
    if (t->own == NULL)
        err = KERF_ENOMEM;
    if (err == KERF_OK)
        err = run_singly(t, why);
    if (err == KERF_OK)
        err = check_answers(t, why);
    if (err == KERF_OK)
        err = time_all(t, why);
    if (err == KERF_OK)
        choose(t, most);
    return err;
}

static void
end_trial(struct trial *t)
{
    for (size_t k = 0; k < t->most; k++) {
        if (t->slot[k] != NULL)
            kerf_slot_give(t->slot[k]);
    }
    if (t->own != NULL)
        kerf_tensors_free(t->own,
                          t->most * kerf_net_out_count(t->served->tail));
    free(t->own);
}

static void
drop_bunches(kerf_slots *slots)
{
    for (size_t w = 0; w < slots->workers; w++)
        kerf_bunch_fini(&slots->bunch[w]);
    free(slots->bunch);
    slots->bunch = NULL;
    slots->batch_most = 1;
}

kerf_err
kerf_batch_load(kerf_served *s, kerf_engine *engine, const kerf_model_bytes *m,
                size_t most, kerf_detail *why)
{
    kerf_slots *slots = &s->slots;
    struct trial t = {.served = s,
                      .forced = most != 0,
                      .most = most == 0 ? KERF_BATCH_MOST : most};
    size_t slots_most = slots->most;
    kerf_detail no = {{0}};
    kerf_err err;

    if (t.most == 1 || !can_batch(s->tail))
        return KERF_OK;
    slots->bunch = calloc(slots->workers, sizeof *slots->bunch);
    if (slots->bunch == NULL)
        return KERF_ENOMEM;
    slots->most = t.most > slots_most ? t.most : slots_most;
    err = kerf_bunch_load(&slots->bunch[0], engine, m, s->tail, t.most, &no);
    if (err == KERF_OK)
        err = try_sizes(&t, &slots->batch_most, &no);
    end_trial(&t);
    slots->most = slots_most;
    if (err != KERF_OK) /* whatever the reason: it runs one by one */
        kerf_log(KERF_LOG_INFO, "cloud.no_batch", "model=%s why=%s",
                 s->manifest.name,
                 KERF_Q(no.text[0] != '\0' ? no.text : kerf_err_text(err)));
    if (err != KERF_OK || slots->batch_most == 1) {
        drop_bunches(slots);
        return KERF_OK;
    }
    for (size_t w = 1; err == KERF_OK && w < slots->workers; w++)
        err = kerf_bunch_load(&slots->bunch[w], engine, m, s->tail,
                              slots->batch_most, why);
    for (size_t w = 0; err == KERF_OK && w < slots->workers; w++)
        kerf_linger_init(&slots->bunch[w].linger, t.best_ns, slots->batch_most,
                         t.forced);
    return err;
}
